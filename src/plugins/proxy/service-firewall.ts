/**
 * The service firewall. VIPs are addresses of the node: without it every program of the host that listens on all
 * addresses could be reached by them. It also says no where IPVS cannot: at once where a Service has no endpoints,
 * silently where a Local policy finds none here, and to clients that a load balancer's source ranges leave out.
 *
 * A handful of sets and rules for all Services, so that a change of one costs the set entries of that one. Names and
 * the order of the accepting rules are kube-router's.
 */

import { type Cidr, contains, type Family, isWithin } from "../../kernel/ip.ts";
import {
  type Chain,
  type FilterRule,
  type HostAddress,
  type IpSet,
  type IpSetMember,
  ipvsFwmarkId,
  type Jump,
  type Match,
  type Service,
} from "../../kernel/plugin.ts";
import type { MarkedService } from "./dsr.ts";
import { insideChains, type InsideFrontend, type InsideMarks, insideVerdicts } from "./inside.ts";
import type { NodeFamily } from "./node.ts";
import { addressesOf } from "./service-names.ts";
import type { Frontend, ServicePlan } from "./service-plan.ts";
import { rangesOf } from "./source-ranges.ts";

export const FIREWALL_CHAIN = "KUBE-ROUTER-SERVICES";
/** Judges new connections, before any is accepted. */
export const VERDICT_CHAIN = "KUBE-ROUTER-SVC-VERDICT";
/** Drops what the node itself sends to a Local Service without endpoints here, before IPVS sees it. */
export const LOCAL_OUT_CHAIN = "KUBE-ROUTER-SVC-OUT";

/** Leads what IPVS or ICMP cannot refuse to a port that nobody can have. */
export const REFUSAL_CHAIN = "KUBE-ROUTER-SVC-REFUSE";

/** Names of the sets; those of IPv6 have "inet6:" before them. */
const SETS = {
  /** The host's own addresses. */
  localIps: { name: "kube-router-local-ips", type: "hash:ip" },
  /** Addresses of Services, the node's own where there are NodePorts. */
  vips: { name: "kube-router-svip", type: "hash:ip" },
  /** All that is served. */
  ports: { name: "kube-router-svip-prt", type: "hash:ip,port" },
  /** Without any endpoint. */
  reject: { name: "kube-router-svip-reject", type: "hash:ip,port" },
  /** With none on this node, under a Local policy. */
  drop: { name: "kube-router-svip-drop", type: "hash:ip,port" },
  /** At which clients inside the cluster get other endpoints than those outside. */
  inside: { name: "kube-router-svip-inside", type: "hash:ip,port" },
  /** For some clients only, and for which. */
  limited: { name: "kube-router-svip-limited", type: "hash:ip,port" },
  sources: { name: "kube-router-svip-src", type: "hash:ip,port,net" },
  /** Ranges that are bound as one route, in place of the addresses in them: all that lies in them is a Service's or nobody's. */
  ranges: { name: "kube-router-svip-range", type: "hash:net" },
} as const satisfies Record<string, Pick<IpSet, "name" | "type">>;

type SetKey = keyof typeof SETS;

/**
 * Members that the larger sets hold for up to this many Services. kube-router takes a set over only where this is
 * Linux's own default, so that it is raised only where it must be.
 */
const SMALL_CLUSTER = 8_000;
const LARGE_SET = 1_048_576;

function setName(key: SetKey, family: Family): string {
  return `${family === 6 ? "inet6:" : ""}${SETS[key].name}`;
}

/** Whether a cluster of this many Services needs larger sets than Linux makes. */
export function isLarge(services: number): boolean {
  return services > SMALL_CLUSTER;
}

/** The sets of the enabled families. */
export function firewallSets(families: readonly NodeFamily[], large: boolean): readonly IpSet[] {
  return families.flatMap(({ family }) =>
    (Object.keys(SETS) as SetKey[]).map((key): IpSet => ({
      name: setName(key, family),
      type: SETS[key].type,
      family,
      // As kube-router makes them, so that it can go on with them.
      timeout: 0,
      ...(large && key !== "localIps" && key !== "ranges" ? { maxElements: LARGE_SET } : {}),
    }))
  );
}

/**
 * The host's own addresses, on which its programs stay reachable: not those of links that carry VIPs, pods or
 * containers. The node's addresses are among them whatever their link is called, or the node could lock itself out.
 */
export function localIps(
  host: readonly HostAddress[],
  families: readonly NodeFamily[],
): readonly IpSetMember[] {
  return families.flatMap(({ family, address }) => {
    const own = host.filter((each) =>
      each.family === family && !/dummy|kube|docker/.test(each.link)
    )
      .map((each) => each.address);
    return [...new Set([address, ...own])].toSorted().map((entry) => ({
      set: setName("localIps", family),
      entry,
    }));
  });
}

/**
 * The set members of one Service. Problems are those of its source ranges. Those that refuse clients judge the virtual service:
 * where another has that address and port, they would refuse the other's.
 *
 * @param routed ranges that are bound as one route: their addresses are no members one by one
 * @param dsr the marks of direct server return: a frontend's virtual service is that of its mark
 * @param inside the marks by which clients inside reach a frontend
 */
export function firewallMembers(
  plan: ServicePlan,
  problems: string[],
  routed: readonly Cidr[] = [],
  dsr?: MarkedService,
  inside?: InsideMarks,
): readonly IpSetMember[] {
  const members: IpSetMember[] = [];
  const ranges = rangesOf(plan, problems);
  for (const front of plan.frontends) {
    const { family, address, verdict } = front;
    const entry = portEntry(front);
    if (!isWithin(routed, address)) members.push({ set: setName("vips", family), entry: address });
    members.push({ set: setName("ports", family), entry });
    const limits = ranges?.of(front);
    const split = (front.inside?.length ?? 0) > 0 && inside?.has(front.id.key) === true;
    if (verdict === "serve" && limits === undefined && !split) continue;
    const judges = serviceKey(front, dsr);
    if (verdict !== "serve") members.push({ set: setName(verdict, family), entry, judges });
    // A mark takes packets from the virtual service of the address, so only who has that may mark.
    if (split) members.push({ set: setName("inside", family), entry, judges });
    if (limits === undefined) continue;
    members.push({ set: setName("limited", family), entry, judges });
    for (const range of limits) {
      members.push({ set: setName("sources", family), entry: `${entry},${range}`, judges });
    }
  }
  return members;
}

/** The key of a frontend's virtual service. */
function serviceKey({ id, family }: Frontend, dsr: MarkedService | undefined): string {
  const mark = dsr?.frontends.get(id.key)?.mark;
  return mark === undefined ? id.key : ipvsFwmarkId(family, mark).key;
}

/** The members of the ranges that are bound as one route. */
export function rangeMembers(
  routed: readonly Cidr[],
  families: readonly NodeFamily[],
): readonly IpSetMember[] {
  return routed.filter(({ family }) => families.some((f) => f.family === family))
    .map(({ family, text }) => ({ set: setName("ranges", family), entry: text }));
}

/** A Service of another proxy has addresses in our range: what goes there is not ours to judge. */
export function othersMembers(service: Service, routed: readonly Cidr[]): readonly IpSetMember[] {
  return addressesOf(service).flatMap((address) => {
    const range = routed.find((each) => contains(each, address));
    if (range === undefined) return [];
    return [{ set: setName("ranges", range.family), entry: address, nomatch: true }];
  });
}

/** The set members that let a Service be reached that is gone, while its connections drain. */
export function drainingMembers(
  service: Pick<Frontend, "family" | "address" | "protocol" | "port">,
): readonly IpSetMember[] {
  const { family, address } = service;
  return [
    { set: setName("vips", family), entry: address },
    { set: setName("ports", family), entry: portEntry(service) },
  ];
}

function portEntry(
  { address, protocol, port }: Pick<Frontend, "address" | "protocol" | "port">,
): string {
  return `${address},${protocol}:${port}`;
}

export interface FirewallRules {
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
}

/**
 * Chains and jumps of one family.
 *
 * @param permitAll `--ipvs-permit-all`: whether traffic to Services is accepted before the node's own rules judge it,
 *   and all else that goes to a VIP rejected
 * @param ranged whether VIPs lie in ranges that are bound as one route: the rules look for those as well then
 * @param marks frontends that clients inside the cluster reach by marks
 */
export function firewallRules(
  node: NodeFamily,
  permitAll: boolean,
  ranged = false,
  marks: readonly InsideFrontend[] = [],
): FirewallRules {
  const { family } = node;
  const place = { family, table: "filter" } as const;
  const toVip: Match = { kind: "set", set: setName("vips", family), directions: ["dst"] };
  const isNew: Match = { kind: "state", states: ["new"] };
  // A jump asks for one set; where there are two of them the chain does, and the other chains ask for ports anyway.
  const asked = ranged ? [] : [toVip];
  const services: Chain = {
    ...place,
    name: FIREWALL_CHAIN,
    rules: permitAll
      ? [
        ...(ranged ? [noVip(family)] : []),
        ...icmpRules(family),
        { matches: [isNew], target: { kind: "jump", chain: VERDICT_CHAIN } },
        ...acceptRules(family),
      ]
      : [],
  };
  const toInside = toPort("inside", family);
  const inside = insideChains(node, marks, toInside);
  const shortCut = inside.chains.length === 0 ? [] : insideVerdicts(node, toInside);
  const verdicts: Chain = { ...place, name: VERDICT_CHAIN, rules: verdictRules(family, shortCut) };
  const output: Chain = {
    family,
    table: "mangle",
    name: LOCAL_OUT_CHAIN,
    // The node itself is a client inside.
    rules: [dropRule(family, { ...toInside, negate: true })],
  };
  const input: Jump = permitAll
    ? {
      ...place,
      from: "INPUT",
      to: FIREWALL_CHAIN,
      matches: asked,
      comment: "handle traffic to IPVS service IPs in custom chain",
      first: true,
    }
    : {
      ...place,
      from: "INPUT",
      to: VERDICT_CHAIN,
      matches: [...asked, isNew],
      comment: "judge new connections to services",
      first: true,
    };
  const out: Jump = {
    family,
    table: "mangle",
    from: "OUTPUT",
    to: LOCAL_OUT_CHAIN,
    matches: [...asked, isNew],
    comment: "judge new connections of the node to services",
  };
  const refusal = refusalRules(family);
  return {
    chains: [verdicts, services, output, ...refusal.chains, ...inside.chains],
    jumps: [input, out, ...refusal.jumps, ...inside.jumps],
  };
}

function noVip(family: Family): FilterRule {
  const not = (key: SetKey): Match => ({
    kind: "set",
    set: setName(key, family),
    directions: ["dst"],
    negate: true,
  });
  return {
    matches: [not("vips"), not("ranges")],
    target: { kind: "return" },
    comment: "not for a service",
  };
}

/** ICMP that must pass for PMTU discovery and neighbours, and so that VIPs answer a ping. */
function icmpRules(family: Family): readonly FilterRule[] {
  const rule = (
    type: Extract<Match, { kind: "icmp" }>["type"],
    words: string,
  ): FilterRule => ({
    matches: [
      { kind: "protocol", protocol: family === 4 ? "icmp" : "icmpv6" },
      { kind: "icmp", type },
    ],
    target: { kind: "accept" },
    comment: `allow icmp ${words} messages`,
  });
  return [
    { ...rule("echo-request", ""), comment: "allow icmp echo requests" },
    rule("destination-unreachable", "destination unreachable"),
    rule("time-exceeded", "time exceeded"),
    ...(family === 4 ? [] : [
      rule("neighbor-solicitation", "neighbor solicitation"),
      rule("neighbor-advertisement", "neighbor advertisement"),
      rule("echo-reply", "echo reply"),
      // Without it a client behind a smaller MTU hangs; kube-router leaves it out.
      rule("packet-too-big", "packet too big"),
    ]),
  ];
}

function acceptRules(family: Family): readonly FilterRule[] {
  const elsewhere: Match = {
    kind: "set",
    set: setName("localIps", family),
    directions: ["dst"],
    negate: true,
  };
  const comment = "reject all unexpected traffic to service IPs";
  return [
    {
      matches: [toPort("ports", family)],
      target: { kind: "accept" },
      comment: "allow input traffic to ipvs services",
    },
    // The port of a Service may go while connections to it drain.
    {
      matches: [{ kind: "state", states: ["established", "related"] }],
      target: { kind: "return" },
      comment: "connections that were let in may finish",
    },
    // Beside kube-router's rule, which alone would make most TCP clients wait.
    { matches: [TCP, elsewhere], target: RESET, comment },
    { matches: [elsewhere], target: unreachable(family), comment },
  ];
}

const TCP: Match = { kind: "protocol", protocol: "tcp" };
const SCTP: Match = { kind: "protocol", protocol: "sctp" };
/** To bind it means "any": no program can ever have it. */
const NOBODYS_PORT = 0;
/** Linux sends one ICMP error a second to a client, and an IPv6 client waits for a second one; resets are not limited. */
const RESET = { kind: "reject", with: "tcp-reset" } as const;

/** What becomes of a new connection that may not go on. @param shortCut lets clients pass that are not to be dropped */
function verdictRules(family: Family, shortCut: readonly FilterRule[]): readonly FilterRule[] {
  const noEndpoints = toPort("reject", family);
  const comment = "no endpoints";
  return [
    {
      matches: [
        toPort("limited", family),
        {
          kind: "set",
          set: setName("sources", family),
          directions: ["dst", "dst", "src"],
          negate: true,
        },
      ],
      target: { kind: "drop" },
      comment: "not in loadBalancerSourceRanges",
    },
    ...shortCut,
    dropRule(family),
    { matches: [TCP, noEndpoints], target: RESET, comment },
    // SCTP ignores an unreachable port, and gives up at once on an unreachable protocol (RFC 9260, appendix C); ICMPv6 has none.
    ...(family === 4
      ? [
        {
          matches: [SCTP, noEndpoints],
          target: { kind: "reject", with: "icmp-proto-unreachable" },
          comment,
        } as const,
      ]
      : []),
    { matches: [noEndpoints], target: unreachable(family), comment },
  ];
}

/**
 * Refuses what only the host's own TCP and SCTP can refuse at once, by handing it to them at port 0, on which nobody can
 * listen: TCP resets it, SCTP aborts it (a host without SCTP says that it has none), and NAT translates the answer.
 *
 * IPVS takes the node's own packets before any REJECT could, and its ICMP error arrives while `connect` still holds the socket:
 * Linux then notes it (LockDroppedIcmps) and refuses at the next SYN, a second later. SCTP over IPv6 ignores all that REJECT
 * has (RFC 9260, appendix C: "unrecognized next header" alone ends an association).
 */
function refusalRules(family: Family): FirewallRules {
  const place = { family, table: "nat" } as const;
  const noEndpoints = toPort("reject", family);
  const comment = "no endpoints";
  const chain: Chain = {
    ...place,
    name: REFUSAL_CHAIN,
    rules: [TCP, SCTP].map((protocol) => ({
      matches: [protocol],
      target: { kind: "redirect", port: NOBODYS_PORT },
      comment,
    })),
    // Where Linux has no REDIRECT, clients wait as they did.
    dispensable: true,
  };
  const jump = { ...place, to: REFUSAL_CHAIN, comment: "refuse at once what has no endpoints" };
  return {
    chains: [chain],
    jumps: [
      { ...jump, from: "OUTPUT", matches: [noEndpoints] },
      ...(family === 4
        ? []
        : [{ ...jump, from: "PREROUTING", matches: [SCTP, noEndpoints] } as const]),
    ],
  };
}

function dropRule(family: Family, ...more: readonly Match[]): FilterRule {
  return {
    matches: [toPort("drop", family), ...more],
    target: { kind: "drop" },
    comment: "no endpoints on this node under a Local policy",
  };
}

function toPort(key: SetKey, family: Family): Extract<Match, { kind: "set" }> {
  return { kind: "set", set: setName(key, family), directions: ["dst", "dst"] };
}

function unreachable(family: Family): FilterRule["target"] {
  return {
    kind: "reject",
    with: family === 4 ? "icmp-port-unreachable" : "icmp6-port-unreachable",
  };
}
