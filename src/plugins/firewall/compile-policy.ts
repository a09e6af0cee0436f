/**
 * A policy as rules: one chain a direction and family, which marks what the policy allows. Which pods are meant is known to
 * the namespace's chain that jumps here.
 */

import type { Cidr, Family } from "../../kernel/ip.ts";
import type { Chain, FilterRule, Match } from "../../kernel/plugin.ts";
import { ALLOWED, comment, policyChainName } from "./names.ts";
import {
  type BlockPeer,
  type Direction,
  DIRECTIONS,
  type PolicyModel,
  type PortModel,
  type RuleModel,
} from "./policy.ts";
import {
  type BlockSet,
  exceptSet,
  namedPortSet,
  networkSet,
  peerSet,
  type PodSet,
  podSetName,
  targetSet,
  type Use,
} from "./sets.ts";

export interface CompiledPolicy {
  readonly chains: readonly Chain[];
  /** Sets that its rules, and the jumps to them, name. */
  readonly podSets: readonly PodSet[];
  readonly blockSets: readonly BlockSet[];
}

export function compilePolicy(policy: PolicyModel, families: readonly Family[]): CompiledPolicy {
  const podSets = new Map<string, PodSet>();
  const blockSets = new Map<string, BlockSet>();
  const chains: Chain[] = [];
  for (const direction of DIRECTIONS) {
    const rules = policy[direction];
    if (rules === undefined) continue;
    if (!policy.target.all) {
      const set = targetSet(policy, direction);
      podSets.set(set.text, set);
    }
    for (const family of families) {
      const place: Place = {
        policy,
        direction,
        family,
        podSet(set) {
          podSets.set(set.text, set);
          return podSetName(set, family);
        },
        blockSet(set) {
          blockSets.set(set.set.name, set);
          return set.set.name;
        },
      };
      chains.push({
        family,
        table: "filter",
        name: policyChainName(policy.key, direction),
        // Empty it allows nothing: the policy is closed in this direction, and others are not concerned.
        dispensable: true,
        // Behind the last rule the chain returns by itself.
        rules: rules.flatMap((rule) => compileRule(rule, place)).slice(0, -1),
      });
    }
  }
  return { chains, podSets: [...podSets.values()], blockSets: [...blockSets.values()] };
}

interface Place {
  readonly policy: PolicyModel;
  readonly direction: Direction;
  readonly family: Family;
  /** Notes a set that a rule names, and gives its name. */
  podSet(set: PodSet): string;
  blockSet(set: BlockSet): string;
}

/** One way in which a rule's peers or ports are matched. */
interface Way {
  readonly matches: readonly Match[];
  readonly words: string;
}

const RETURN_ALLOWED: FilterRule = {
  matches: [{ kind: "mark", mark: ALLOWED, mask: ALLOWED }],
  target: { kind: "return" },
};

/** Peers AND ports: every way of the one with every way of the other. */
function compileRule(rule: RuleModel, place: Place): readonly FilterRule[] {
  const { direction, policy } = place;
  const ports = portWays(rule, place);
  return peerWays(rule, place).flatMap((peer) =>
    ports.flatMap((port): readonly FilterRule[] => [
      {
        matches: [...peer.matches, ...port.matches],
        target: { kind: "mark", set: ALLOWED, mask: ALLOWED },
        comment: comment(`${policy.key} ${direction} ${peer.words}${port.words}`),
      },
      RETURN_ALLOWED,
    ])
  );
}

function peerWays({ peers }: RuleModel, place: Place): readonly Way[] {
  if (peers === "everyone") return [{ matches: [], words: "any" }];
  const { direction, family } = place;
  const use: Use = direction === "ingress" ? "SRC" : "DST";
  const inSet = (set: string, words: string): Way => ({
    matches: [{ kind: "set", set, directions: [use === "SRC" ? "src" : "dst"] }],
    words,
  });
  const blocks = peers.filter((peer): peer is BlockPeer =>
    peer.kind === "block" && peer.cidr.family === family
  );
  const plain = blocks.filter(({ except }) => except.length === 0).map(({ cidr }) => cidr);
  // A block that is excepted as a whole matches nothing.
  const excepted = blocks.filter(({ cidr, except }) =>
    except.length > 0 && except[0]?.text !== cidr.text
  );
  const sets = new Set(
    peers.flatMap((peer) => peer.kind === "pods" ? [place.podSet(peerSet(peer, direction))] : []),
  );
  return [
    ...[...sets].map((set) => inSet(set, "pods")),
    ...networkWays(plain, use, place, inSet),
    ...excepted.map((block) => inSet(place.blockSet(exceptSet(block, use)), "cidr")),
  ];
}

/** One network is matched as it is, several by a set, and all of a family by nothing. */
function networkWays(
  cidrs: readonly Cidr[],
  use: Use,
  place: Place,
  inSet: (set: string, words: string) => Way,
): readonly Way[] {
  const [first] = cidrs;
  if (first === undefined) return [];
  if (cidrs.some(({ prefix }) => prefix === 0)) return [{ matches: [], words: "cidr" }];
  if (new Set(cidrs.map(({ text }) => text)).size > 1) {
    return [inSet(place.blockSet(networkSet(cidrs, use, place.family)), "cidr")];
  }
  const kind = use === "SRC" ? "source" : "destination";
  return [{ matches: [{ kind, prefix: first.text }], words: "cidr" }];
}

function portWays({ ports }: RuleModel, place: Place): readonly Way[] {
  if (ports === "all") return [{ matches: [], words: "" }];
  return ports.map((port) => portWay(port, place));
}

function portWay(port: PortModel, { direction, policy, podSet }: Place): Way {
  const protocol: Match = { kind: "protocol", protocol: port.protocol };
  switch (port.kind) {
    case "all":
      return { matches: [protocol], words: "" };
    case "range": {
      const text = port.from === port.to ? `${port.from}` : `${port.from}-${port.to}`;
      return {
        matches: [protocol, { kind: "ports", side: "destination", ports: text }],
        words: "",
      };
    }
    case "named": {
      // The set holds pairs of address and port, so that a pod with another number, or a new pod, changes no rule.
      const set = podSet(namedPortSet(port, policy.namespace, direction));
      return {
        matches: [protocol, { kind: "set", set, directions: ["dst", "dst"] }],
        words: " np",
      };
    }
  }
}
