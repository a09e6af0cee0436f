/** Which established connections policies deny by now. */

import { contains } from "../../kernel/ip.ts";
import type { Flow, FlowRule, HostAddresses } from "../../kernel/plugin.ts";
import { judge } from "./judge.ts";
import { CUT } from "./names.ts";
import type { PolicyIndex } from "./policy-index.ts";
import type { Protocol } from "./policy.ts";

const PROTOCOLS: ReadonlyMap<number, Protocol> = new Map([[6, "tcp"], [17, "udp"], [132, "sctp"]]);

/**
 * @param serviceRanges what goes to them, untranslated, is judged nowhere
 */
export function flowRule(
  index: PolicyIndex,
  host: Pick<HostAddresses, "values">,
  serviceRanges: () => readonly { readonly cidr: string }[],
): FlowRule {
  const isLocal = (address: string) =>
    index.podsAt(address).some(({ key }) => index.localPod(key) !== undefined);
  return {
    mark: CUT,
    concerns: isLocal,
    begin() {
      const own = new Set(host.values().map(({ address }) => address));
      const ranges = serviceRanges();
      return (flow: Flow) => {
        const protocol = PROTOCOLS.get(flow.protocol);
        if (protocol === undefined) return false;
        const { address: destination, port } = flow.answers;
        if (ranges.some(({ cidr }) => contains(cidr, destination))) return false;
        const connection = { source: flow.source.address, destination, protocol, port };
        return judge(index, connection, (address) => own.has(address))
          .some(({ allowed }) => !allowed);
      };
    },
  };
}
