/** What becomes of a connection on this node: the proxy's, the firewall's and Linux's answers put together. Pure. */

import type { FoundRoute, NoRoute } from "../kernel/dataplane/linux/route-lookup.ts";
import { contains, parseCidr } from "../kernel/ip.ts";
import type { Named } from "../kernel/runtime/objects.ts";
import type { LinuxObject, WhyConnection } from "../plugins/firewall/answers.ts";
import {
  admits,
  type EndpointAnswer,
  type FrontendAnswer,
  type IpvsDestinationRow,
  type ProxyWhyAnswer,
  seenBy,
  type SourceNat,
  sourceNat,
} from "../plugins/proxy/answers.ts";

/** What a client sees. "dropped": nothing, until it gives up. "depends": it differs from endpoint to endpoint. */
export type Result = "reaches" | "refused" | "dropped" | "unreachable" | "depends";

/** Where a packet comes from. */
export interface Source {
  readonly address: string;
  /** Who has the address, if anybody is known to. */
  readonly named?: Named;
  /** This node itself sends. */
  readonly isHost: boolean;
}

export interface Target {
  readonly address: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly named?: Named;
}

/** All that was found out about one target. */
export interface Facts {
  /** Name of this node. */
  readonly node: string;
  readonly source: Source;
  readonly target: Target;
  /** Absent: no proxy runs. */
  readonly proxy?: ProxyWhyAnswer;
  /** What the firewall says of a destination; undefined where no firewall runs. */
  policyOf(address: string, port: number): WhyConnection | undefined;
  /** The way of what this host sends, or with `from` of what it forwards. */
  routeTo(address: string, from?: string): FoundRoute | NoRoute;
  nameOf(address: string): Named | undefined;
  /** Whether the address is one of this host's own, and no Service's. */
  isHosts(address: string): boolean;
  /** Whether a program of this host listens there; undefined where that cannot be known. */
  listens(target: Target): boolean | undefined;
  /** Whether the agent knows all pods, so that an address of nobody's is one. */
  readonly knowsPods: boolean;
  /** Whether the router gives pods the node's address where they leave the cluster. */
  readonly egress: boolean;
}

/** One way that the connection may take. */
export interface Path {
  readonly address: string;
  readonly port: number;
  readonly named?: Named;
  /** Of the destination in IPVS. */
  readonly live?: IpvsDestinationRow;
  readonly nat?: SourceNat;
  readonly tunnel?: boolean;
  readonly policy?: WhyConnection;
  readonly route: FoundRoute | NoRoute;
  readonly result: Result;
  /** Why, where it is not simply that nothing stands against it. */
  readonly because?: string;
  /** Who else has a say, one text each. */
  readonly elsewhere: readonly string[];
}

/** What ends a connection before any endpoint is chosen. */
export interface Stop {
  readonly because: string;
  /** The rule that does it, with its counter. */
  readonly rule?: LinuxObject;
}

export interface TargetAnswer {
  readonly target: Target;
  readonly result: Result;
  readonly service?: FrontendAnswer;
  readonly stop?: Stop;
  readonly paths: readonly Path[];
  /** What a reader has to know besides. */
  readonly notes: readonly string[];
}

const SERVICES_CHAIN = "KUBE-ROUTER-SERVICES";
const VERDICT_CHAIN = "KUBE-ROUTER-SVC-VERDICT";
const OUT_CHAIN = "KUBE-ROUTER-SVC-OUT";

export function judgeTarget(facts: Facts): TargetAnswer {
  const { proxy, target } = facts;
  const notes: string[] = [];
  if (proxy === undefined) notes.push("no service proxy runs here: Services were not looked at");
  const service = proxy?.frontends[0];
  if (service !== undefined && proxy !== undefined) {
    return throughService(facts, proxy, service, notes);
  }
  const family = target.address.includes(":") ? 6 : 4;
  if (proxy?.isVip === true && !facts.isHosts(target.address)) {
    const because = `it is the address of ${
      list(proxy.others.map((name) => `Service ${name}`))
    }, which has no port ${target.port}/${target.protocol}`;
    if (proxy.permitAll) {
      const comment = "reject all unexpected traffic to service IPs";
      return stopped(target, "refused", notes, {
        because,
        rule: { family, chain: SERVICES_CHAIN, comment },
      });
    }
    notes.push(because);
  }
  return direct(facts, notes);
}

function stopped(
  target: Target,
  result: Result,
  notes: readonly string[],
  stop: Stop,
  service?: FrontendAnswer,
): TargetAnswer {
  return { target, result, ...(service === undefined ? {} : { service }), stop, paths: [], notes };
}

function throughService(
  facts: Facts,
  proxy: ProxyWhyAnswer,
  given: FrontendAnswer,
  notes: string[],
): TargetAnswer {
  const { node, source, target } = facts;
  const service = seenBy(given, source.address, source.isHost, proxy.masquerade);
  const { family } = service;
  if (service.heldBy !== undefined) {
    notes.push(
      `Service ${service.service} wants this address and port too, and ${service.heldBy} has it`,
    );
  }
  if (service !== given) {
    notes.push("a client inside the cluster: the Local policy of this address does not bind it");
  }
  if (service.live === undefined) {
    notes.push(
      `IPVS has no virtual service "${service.key}" now; "routelet plan" says what is missing`,
    );
  }
  const from = source.named?.node;
  if (from !== undefined && from !== node && service.kind !== "nodePort") {
    notes.push(
      `the endpoint is chosen on ${from}, where ${nameOrAddress(source)} is: ask there too`,
    );
  }
  // Local output passes no INPUT chain before IPVS takes it.
  if (!source.isHost && !admits(service, source.address)) {
    return stopped(target, "dropped", notes, {
      because:
        `loadBalancerSourceRanges of Service ${service.service} leave ${source.address} out: ${
          list(service.sources ?? []) || "they admit nobody"
        }`,
      rule: { family, chain: VERDICT_CHAIN, comment: "not in loadBalancerSourceRanges" },
    }, service);
  }
  if (service.verdict === "drop") {
    return stopped(target, "dropped", notes, {
      because:
        `Service ${service.service} serves this address by endpoints of this node alone (policy Local), and has none here`,
      rule: {
        family,
        chain: source.isHost ? OUT_CHAIN : VERDICT_CHAIN,
        comment: "no endpoints on this node under a Local policy",
      },
    }, service);
  }
  if (service.verdict === "reject") {
    return stopped(target, "refused", notes, {
      because: `Service ${service.service} has no ready endpoint`,
      rule: { family, chain: VERDICT_CHAIN, comment: "no endpoints" },
    }, service);
  }
  const paths = service.endpoints.map((endpoint) => pathTo(facts, proxy, service, endpoint));
  return { target, result: together(paths), service, paths, notes };
}

function pathTo(
  facts: Facts,
  { masquerade }: ProxyWhyAnswer,
  service: FrontendAnswer,
  endpoint: EndpointAnswer,
): Path {
  const { source } = facts;
  const { address, port } = endpoint;
  const live = service.live?.destinations.find((one) =>
    one.address === address && one.port === port
  );
  const nat = sourceNat(
    masquerade,
    service,
    endpoint,
    source.address,
    (each) => facts.isHosts(each) || (source.isHost && each === source.address),
  );
  // IPVS sends what it has translated as the host's own.
  const path = judged(facts, address, port, facts.routeTo(address));
  return {
    ...path,
    ...(live === undefined ? {} : { live }),
    nat,
    ...(endpoint.tunnel ? { tunnel: true } : {}),
    ...(path.result === "reaches" && nat.kind === "lost"
      ? { result: "dropped", because: nat.because }
      : {}),
  };
}

/** What policy and routing say of one destination, after the translation of Services. */
function judged(facts: Facts, address: string, port: number, route: FoundRoute | NoRoute): Path {
  const policy = facts.policyOf(address, port);
  const named = facts.nameOf(address);
  const common = {
    address,
    port,
    ...(named === undefined ? {} : { named }),
    ...(policy === undefined ? {} : { policy }),
    route,
    elsewhere: policy?.elsewhere ?? [],
  };
  // Routing comes before the chains that judge.
  const way = wayOf(route);
  if (way !== undefined) return { ...common, ...way };
  if (policy?.allowed === false) {
    const denied = policy.judgements.find(({ allowed }) => !allowed);
    return {
      ...common,
      result: "refused",
      because: denied === undefined
        ? "a network policy denies it"
        : `${denied.direction} of ${denied.pod} is denied by network policy`,
    };
  }
  return { ...common, result: "reaches" };
}

/** Why a packet goes nowhere, by Linux's answer. */
function wayOf(
  route: FoundRoute | NoRoute,
): { readonly result: Result; readonly because: string } | undefined {
  if ("error" in route) {
    return route.error === "EINVAL"
      ? {
        result: "dropped",
        because: "a route drops it, or its source is not expected there (EINVAL)",
      }
      : { result: "unreachable", because: `this node has no route to it (${route.error})` };
  }
  if (route.type === "blackhole") {
    return { result: "dropped", because: `route blackhole ${route.destination} drops it` };
  }
  if (route.type === "unreachable") {
    return { result: "unreachable", because: `route unreachable ${route.destination} refuses it` };
  }
  return undefined;
}

/** A connection to no Service. */
function direct(facts: Facts, notes: string[]): TargetAnswer {
  const { node, source, target } = facts;
  const { address, port } = target;
  const forwarded = source.isHost ? undefined : source.address;
  const path = judged(facts, address, port, facts.routeTo(address, forwarded));
  const answer = (more: Partial<Path>): TargetAnswer => {
    const whole = { ...path, ...more };
    return { target, result: whole.result, paths: [whole], notes };
  };
  const ends = [source.named?.node, target.named?.node];
  if (!source.isHost && ends.every((end) => end !== undefined && end !== node)) {
    notes.push(
      `neither end is on ${node}: it sees no packet of this; ask on ${list([...new Set(ends)])}`,
    );
  }
  if (path.result !== "reaches") return answer({});
  const { route } = path;
  if (!("error" in route) && route.type === "local") {
    const what = `${target.protocol} port ${port}`;
    if (!facts.isHosts(address)) {
      return answer({
        result: "refused",
        because: "the address is one of a Service range, and no Service has it",
      });
    }
    const listens = facts.listens(target);
    if (listens === false) {
      return answer({
        result: "refused",
        because: `no program of this host listens on ${what}, and no Service has it`,
      });
    }
    if (listens === true) notes.push(`a program of this host listens on ${what}`);
    return answer({});
  }
  const inPods = facts.proxy?.masquerade.families.some(({ podCIDRs }) =>
    podCIDRs.some((text) => {
      const range = parseCidr(text);
      return range !== undefined && contains(range, address);
    })
  ) === true;
  if (inPods && facts.knowsPods && target.named === undefined) {
    return answer({ result: "unreachable", because: `no pod of ${node} has this address` });
  }
  const leaves = facts.egress && target.named === undefined && !inPods &&
    source.named?.kind === "pod" && source.named.node === node;
  return leaves && !("error" in route)
    ? answer({ nat: { kind: "masqueraded", to: route.source ?? "the node's address" } })
    : answer({});
}

function together(paths: readonly Path[]): Result {
  const [first, ...others] = paths.map(({ result }) => result);
  if (first === undefined) return "refused";
  return others.every((result) => result === first) ? first : "depends";
}

export function nameOrAddress({ address, named }: Pick<Source, "address" | "named">): string {
  return named === undefined ? address : named.name;
}

function list(texts: readonly (string | undefined)[]): string {
  return texts.filter((text) => text !== undefined).join(", ");
}
