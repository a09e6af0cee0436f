/** Which established connections policies deny by now. */

import { contains } from "../../kernel/ip.ts";
import type { Flow, FlowRule, HostAddresses } from "../../kernel/plugin.ts";
import { type Connection, judge } from "./judge.ts";
import { CUT } from "./names.ts";
import type { PolicyIndex } from "./policy-index.ts";
import type { Protocol } from "./policy.ts";

const PROTOCOLS: ReadonlyMap<number, Protocol> = new Map([[6, "tcp"], [17, "udp"], [132, "sctp"]]);

/** What goes there, untranslated, meets no chain of a pod: ranges of Services, and ports of the node. */
export interface Unjudged {
  readonly serviceRanges: readonly { readonly cidr: string }[];
  readonly nodePorts: { readonly from: number; readonly to: number };
}

export function flowRule(
  index: PolicyIndex,
  host: Pick<HostAddresses, "values">,
  unjudged: () => Unjudged,
): FlowRule {
  const isLocal = (address: string) =>
    index.podsAt(address).some(({ key }) => index.localPod(key) !== undefined);
  return {
    mark: CUT,
    concerns: isLocal,
    begin() {
      const own = new Set(host.values().map(({ address }) => address));
      const { nodePorts, serviceRanges } = unjudged();
      const isUnjudged = ({ destination, port }: Connection): boolean =>
        serviceRanges.some(({ cidr }) => contains(cidr, destination)) ||
        (own.has(destination) && nodePorts.from <= port && port <= nodePorts.to);
      const denies = (connection: Connection): boolean =>
        !isUnjudged(connection) &&
        judge(index, connection, (address) => own.has(address)).some(({ allowed }) => !allowed);
      // Between two pods there are many flows, which differ in a port that no policy asks for.
      const verdicts = new Map<string, boolean>();
      return (flow: Flow) => {
        const protocol = PROTOCOLS.get(flow.protocol);
        if (protocol === undefined) return false;
        const { source: { address: source }, answers: { address: destination, port } } = flow;
        const text = `${protocol} ${source} ${destination} ${port}`;
        const known = verdicts.get(text);
        if (known !== undefined) return known;
        const denied = denies({ source, destination, protocol, port });
        verdicts.set(text, denied);
        return denied;
      };
    },
  };
}
