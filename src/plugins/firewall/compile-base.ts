/** The chains that all pods of the node share, and the jumps that lead to them. */

import type { Family } from "../../kernel/ip.ts";
import {
  type Chain,
  type FilterRule,
  type IpSet,
  type Jump,
  type Match,
  POD_BRIDGE,
} from "../../kernel/plugin.ts";
import { from, to } from "./compile-pod.ts";
import {
  ALLOWED,
  comment,
  COMMON_CHAIN,
  CUT,
  DEFAULT_CHAIN,
  localPodsSet,
  PASSED,
  PASSED_DESTINATION,
  PASSED_SOURCE,
  podChainName,
  TAIL_CHAIN,
  TOP_CHAINS,
} from "./names.ts";
import { addressesOf, type PodFacts } from "./pods.ts";

export interface BaseOptions {
  /** `--netpol-default-deny`. */
  readonly defaultDeny: boolean;
  /** `--netpol-keep-established`. */
  readonly keepEstablished: boolean;
  /** Pod CIDRs of this node, canonical, of both families; for `defaultDeny`. */
  readonly podCIDRs: readonly string[];
  /** Ranges of Services' addresses, canonical, of both families: they are judged behind IPVS, by their endpoint. */
  readonly serviceRanges: readonly ServiceRange[];
  readonly nodePorts: { readonly from: number; readonly to: number };
}

export interface ServiceRange {
  readonly cidr: string;
  /** As kube-router's comments call it. */
  readonly words: string;
}

export interface CompiledBase {
  readonly sets: readonly IpSet[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
}

export function compileBase(
  localPods: readonly PodFacts[],
  families: readonly Family[],
  options: BaseOptions,
): CompiledBase {
  return {
    sets: options.defaultDeny
      // As kube-router makes it, so that it can go on with it.
      ? families.map((family) => ({
        name: localPodsSet(family),
        type: "hash:ip",
        family,
        timeout: 0,
      }))
      : [],
    chains: families.flatMap((family) => [
      ...sharedChains(family, options),
      ...topChains(localPods, family, options),
    ]),
    jumps: families.flatMap((family) =>
      (["INPUT", "FORWARD", "OUTPUT"] as const).map((from): Jump => ({
        family,
        table: "filter",
        from,
        to: TOP_CHAINS[from],
        matches: [],
        comment: "kube-router netpol",
        first: true,
      }))
    ),
  };
}

function sharedChains(family: Family, options: BaseOptions): readonly Chain[] {
  const place = { family, table: "filter" } as const;
  return [
    {
      ...place,
      name: DEFAULT_CHAIN,
      rules: [{
        matches: [],
        target: { kind: "mark", set: ALLOWED, mask: ALLOWED },
        comment: "rule to mark traffic matching a network policy",
      }],
    },
    { ...place, name: COMMON_CHAIN, rules: commonRules(family, options) },
    { ...place, name: TAIL_CHAIN, rules: tailRules(family, options) },
  ];
}

/**
 * Refuses connections that conntrack has marked as denied by now. Resets and ICMP errors pass: they are what the refusal
 * itself sends, and belong to the same connection.
 */
function cutRules(): readonly FilterRule[] {
  const cut: Match = { kind: "connectionMark", mark: CUT, mask: CUT };
  return [
    {
      matches: [
        { kind: "protocol", protocol: "tcp" },
        { kind: "tcpFlags", mask: "RST", set: "NONE" },
        cut,
      ],
      target: { kind: "reject", with: "tcp-reset" },
      comment: "denied by a policy since it began",
    },
    ...(["udp", "sctp"] as const).map((protocol): FilterRule => ({
      matches: [{ kind: "protocol", protocol }, cut],
      target: { kind: "reject" },
      comment: "denied by a policy since it began",
    })),
  ];
}

function commonRules(family: Family, { keepEstablished }: BaseOptions): readonly FilterRule[] {
  const icmp = (
    type: Extract<Match, { kind: "icmp" }>["type"],
    words: string,
  ): FilterRule => ({
    matches: [
      { kind: "protocol", protocol: family === 4 ? "icmp" : "icmpv6" },
      { kind: "icmp", type },
    ],
    target: { kind: "accept" },
    comment: `allow icmp ${words}`,
  });
  return [
    {
      // Packets that NAT does not know would leave with the wrong address.
      matches: [{ kind: "state", states: ["invalid"] }],
      target: { kind: "drop" },
      comment: "rule to drop invalid state for pod",
    },
    ...(keepEstablished ? [] : cutRules()),
    {
      matches: [{ kind: "state", states: ["related", "established"] }],
      target: { kind: "accept" },
      comment: "rule for stateful firewall for pod",
    },
    icmp("echo-request", "echo requests"),
    icmp("destination-unreachable", "destination unreachable messages"),
    icmp("time-exceeded", "time exceeded messages"),
    // Without neighbour discovery IPv6 ends; without packet-too-big a path with a smaller MTU does.
    ...(family === 4 ? [] : [
      icmp("neighbor-solicitation", "neighbor solicitation messages"),
      icmp("neighbor-advertisement", "neighbor advertisement messages"),
      icmp("echo-reply", "echo reply messages"),
      icmp("packet-too-big", "packet too big messages"),
    ]),
  ];
}

const ACCEPT_PASSED: FilterRule = {
  matches: [{ kind: "mark", mark: PASSED, mask: PASSED }],
  target: { kind: "accept" },
};

/**
 * Accepts what the chains of all pods concerned have let pass. With `--netpol-default-deny`, what one end alone has let
 * pass while the other end, a pod of this node too, has no chain yet, is refused. kube-router asks its set of programmed
 * pods for that; sets and rules cannot be changed at one time, so marks that the chains themselves leave are asked as well.
 */
function tailRules(
  family: Family,
  options: BaseOptions,
): readonly FilterRule[] {
  const accept: FilterRule = { ...ACCEPT_PASSED, comment: "accept netpol-ok" };
  if (!options.defaultDeny) return [accept];
  const cidrs = cidrsOf(options, family);
  const set = localPodsSet(family);
  const own: Match = { kind: "local", side: "destination" };
  const reject = (words: string, ...matches: readonly Match[]): FilterRule => ({
    matches,
    target: { kind: "reject" },
    comment: `${words} (default-deny)`,
  });
  const sides = cidrs.flatMap((prefix) =>
    [
      { matches: [{ kind: "source", prefix }], direction: "src", mark: PASSED_SOURCE },
      {
        // The bridge's address lies in the pods' range and belongs to the node.
        matches: [{ kind: "destination", prefix }, { ...own, negate: true }],
        direction: "dst",
        mark: PASSED_DESTINATION,
      },
    ] as const
  );
  return [
    {
      matches: [{ kind: "local", side: "source" }],
      target: { kind: "return" },
      comment: "from local node",
    },
    {
      matches: [own, { kind: "state", states: ["related", "established"] }],
      target: { kind: "return" },
      comment: "answers to local node",
    },
    // Without it nobody, the kubelet neither, learns the link address of a pod that has no rules yet.
    ...(family === 4 ? [] : (["neighbor-solicitation", "neighbor-advertisement"] as const).map(
      (type): FilterRule => ({
        matches: [{ kind: "protocol", protocol: "icmpv6" }, { kind: "icmp", type }],
        target: { kind: "return" },
        comment: `${type.replace("-", " ")}s`,
      }),
    )),
    ...sides.flatMap(({ matches, direction, mark }) => [
      reject("reject unprogrammed local pod", ...matches, {
        kind: "set",
        set,
        directions: [direction],
        negate: true,
      }),
      reject("reject unprogrammed local pod", ...matches, { kind: "mark", mark: 0, mask: mark }),
    ]),
    accept,
    ...sides.map(({ matches }) => reject("reject pre-netpol", ...matches)),
  ];
}

function cidrsOf({ podCIDRs }: BaseOptions, family: Family): readonly string[] {
  return podCIDRs.filter((cidr) => cidr.includes(":") === (family === 6));
}

function topChains(
  localPods: readonly PodFacts[],
  family: Family,
  options: BaseOptions,
): readonly Chain[] {
  // Marks that others left, or this packet's way through an earlier hook, must not stand for chains of pods. Marks of
  // packets that are none of ours are left alone.
  const bits = PASSED | PASSED_SOURCE | PASSED_DESTINATION;
  const clear = options.defaultDeny
    ? cidrsOf(options, family).flatMap((prefix) =>
      (["source", "destination"] as const).map((kind): FilterRule => ({
        matches: [{ kind, prefix }],
        target: { kind: "mark", set: 0, mask: bits },
        comment: "marks of others permit nothing (default-deny)",
      }))
    )
    : [];
  const ends: readonly FilterRule[] = [
    {
      matches: [],
      target: { kind: "jump", chain: TAIL_CHAIN },
      comment: "rule to explicitly handle traffic for network policies ACCEPT/REJECT decision",
    },
    {
      ...ACCEPT_PASSED,
      comment: "rule to explicitly ACCEPT traffic that comply to network policies",
    },
  ];
  const jumps = (match: (address: string) => Match, words: string): readonly FilterRule[] =>
    localPods.flatMap((pod) =>
      addressesOf(pod, family).map((address): FilterRule => ({
        matches: [match(address)],
        target: { kind: "jump", chain: podChainName(pod.key) },
        comment: comment(`${pod.key} ${words}`),
      }))
    );
  const aside = family === 4 ? [] : linkLocalRules();
  const incoming = jumps(to, "in");
  const outgoing = jumps(from, "out");
  const place = { family, table: "filter" } as const;
  return [
    {
      ...place,
      name: TOP_CHAINS.INPUT,
      rules: [...aside, ...serviceRules(family, options), ...clear, ...outgoing, ...ends],
    },
    {
      ...place,
      name: TOP_CHAINS.FORWARD,
      rules: [...aside, ...clear, ...incoming, ...outgoing, ...ends],
    },
    { ...place, name: TOP_CHAINS.OUTPUT, rules: [...clear, ...incoming, ...outgoing, ...ends] },
  ];
}

/**
 * A pod has a link-local IPv6 address that Kubernetes knows nothing of, so no policy names it: a neighbour on the bridge would
 * reach a closed pod by it, and a pod closed for egress would leave by its own. Neighbour discovery and multicast go on.
 * Dropped and not refused: Linux finds no way back to such an address.
 */
function linkLocalRules(): readonly FilterRule[] {
  const input: Match = { kind: "input", link: POD_BRIDGE };
  const ways: readonly (readonly Match[])[] = [
    [input, { kind: "destination", prefix: "fe80::/10" }],
    [input, { kind: "source", prefix: "fe80::/10" }, {
      kind: "destination",
      prefix: "ff00::/8",
      negate: true,
    }],
  ];
  return ways.flatMap((matches) =>
    (["tcp", "udp", "sctp"] as const).map((protocol): FilterRule => ({
      matches: [...matches, { kind: "protocol", protocol }],
      target: { kind: "drop" },
      comment: "no policy knows link-local addresses",
    }))
  );
}

/** What goes to a Service is judged after IPVS has chosen the endpoint, in OUTPUT or FORWARD. */
function serviceRules(
  family: Family,
  { nodePorts, serviceRanges }: BaseOptions,
): readonly FilterRule[] {
  const ports = `${nodePorts.from}-${nodePorts.to}`;
  return [
    ...serviceRanges.filter(({ cidr }) => cidr.includes(":") === (family === 6)).map((
      { cidr, words },
    ): FilterRule => ({
      matches: [{ kind: "destination", prefix: cidr }],
      target: { kind: "return" },
      comment: words,
    })),
    ...(["tcp", "udp", "sctp"] as const).map((protocol): FilterRule => ({
      matches: [
        { kind: "protocol", protocol },
        { kind: "local", side: "destination" },
        { kind: "ports", side: "destination", ports },
      ],
      target: { kind: "return" },
      comment: `allow LOCAL ${protocol.toUpperCase()} traffic to node ports`,
    })),
  ];
}
