/** From plans to what the speaker takes: pure, so that equal plans give equal configurations and no session is touched. */

import { parseCidr } from "../../kernel/ip.ts";
import type {
  Modification,
  PeerConfig,
  Policy,
  PrefixMatch,
  SpeakerOptions,
  Statement,
} from "./bgp/mod.ts";
import type { ExternalAttributes, PeeringPlan, PeerPlan } from "./peering.ts";

/** Classes of our own routes, which policies match by. */
export const POD_CLASS = "pod";
export const VIP_CLASS = "vip";
/** What plugins ask for. */
export const PLUGIN_CLASS = "plugin";

/** How many next hops a learned route may have side by side. */
const MULTIPATH = 16;

/** What makes another speaker of it when it changes. */
export function speakerOptions(plan: PeeringPlan, hostname: string): SpeakerOptions {
  const { gracefulRestart } = plan;
  return {
    asn: plan.asn,
    routerId: plan.routerId,
    listen: plan.listen.addresses.map((address) => ({ address, port: plan.listen.port })),
    multipath: MULTIPATH,
    ...(gracefulRestart === undefined ? {} : {
      gracefulRestart: {
        restartSeconds: gracefulRestart.restartTime,
        deferralSeconds: gracefulRestart.deferralTime,
      },
    }),
    hostname,
  };
}

/** What is announced to whom, and how much is taken. */
export interface PolicyInput {
  /** `--advertise-pod-cidr`: to routers outside. Nodes always get them. */
  readonly advertisePodCidr: boolean;
  /** `--bgp-max-prefixes`: of any peer, in each family; 0: no limit. */
  readonly maxPrefixes: number;
  /** Pod CIDRs of this node, canonical: nobody else knows a way into them. */
  readonly podCidrs: readonly string[];
}

export function peerConfigs(plan: PeeringPlan, input: PolicyInput): readonly PeerConfig[] {
  const importPolicy = importOf(plan, input);
  const internal = exportToNodes(plan);
  const external = exportOutside(plan, input);
  return plan.peers.map((peer) =>
    peerConfig(
      plan,
      peer,
      input.maxPrefixes,
      importPolicy,
      peer.kind === "internal" ? internal : external,
    )
  );
}

function peerConfig(
  { holdTime }: PeeringPlan,
  peer: PeerPlan,
  maxPrefixes: number,
  importPolicy: Policy,
  exportPolicy: Policy,
): PeerConfig {
  const { key, multihop, bfd } = peer;
  return {
    address: peer.address,
    port: peer.port,
    asn: peer.asn,
    localAddress: peer.local,
    families: peer.families,
    ...(key === undefined ? {} : { password: key }),
    holdSeconds: holdTime,
    ...(multihop === undefined ? {} : { multihop }),
    ...(peer.reflectorClient ? { routeReflectorClient: true } : {}),
    ...(maxPrefixes === 0 ? {} : { maxPrefixes }),
    import: importPolicy,
    export: exportPolicy,
    ...(bfd === undefined ? {} : {
      bfd: {
        port: bfd.port,
        detectMultiplier: bfd.detectionMultiplier,
        // Milliseconds here, microseconds on the wire (RFC 5880 section 4.1).
        desiredMinTx: bfd.desiredMinTx * 1000,
        requiredMinRx: bfd.requiredMinRx * 1000,
      },
    }),
  };
}

/**
 * Takes everything but what would break this node: its own VIPs and pods, default routes, and what an annotation names. VIPs go by
 * their class and not by a list, so that one that comes or goes is judged alone. A part of its own pod CIDR would be more
 * specific than the bridge's route, and lead to another place what is meant for pods of this node.
 */
function importOf(
  { importReject }: PeeringPlan,
  { podCidrs }: Pick<PolicyInput, "podCidrs">,
): Policy {
  const statements: Statement[] = [
    { name: "own VIPs", match: { classes: [VIP_CLASS] }, action: "reject" },
    { name: "own prefixes of plugins", match: { classes: [PLUGIN_CLASS] }, action: "reject" },
  ];
  const reject = (name: string, prefixes: readonly PrefixMatch[]): void => {
    if (prefixes.length > 0) statements.push({ name, match: { prefixes }, action: "reject" });
  };
  reject("default routes", [{ prefix: "0.0.0.0/0" }, { prefix: "::/0" }]);
  reject("own pod CIDRs", podCidrs.flatMap(within));
  reject("kube-router.io/node.bgp.customimportreject", importReject.flatMap(within));
  return { statements, default: "accept" };
}

/** A network and all that lies in it. */
function within(text: string): readonly PrefixMatch[] {
  const cidr = parseCidr(text);
  return cidr === undefined
    ? []
    : [{ prefix: text, min: cidr.prefix, max: cidr.family === 4 ? 32 : 128 }];
}

/** A reflector passes on what it learned; nobody else does, so that no node draws transit traffic. */
function reflected(plan: PeeringPlan, set: Modification | undefined): readonly Statement[] {
  return plan.isReflector
    ? [{
      name: "reflected",
      match: { source: ["ibgp", "ebgp"] },
      action: "accept",
      ...(set === undefined ? {} : { set }),
    }]
    : [];
}

/** To nodes: own pod CIDRs as they are. VIPs never, nor prefixes of plugins: every node has its own. */
function exportToNodes(plan: PeeringPlan): Policy {
  return {
    statements: [
      { name: "own pod CIDRs", match: { classes: [POD_CLASS] }, action: "accept" },
      ...reflected(plan, undefined),
    ],
    default: "reject",
  };
}

/** To routers outside: VIPs, prefixes of plugins, and pod CIDRs where a flag says so, with this node's attributes. */
function exportOutside(plan: PeeringPlan, { advertisePodCidr }: PolicyInput): Policy {
  const set = modification(plan.external);
  const accept = (name: string, className: string): Statement => ({
    name,
    match: { classes: [className] },
    action: "accept",
    ...(set === undefined ? {} : { set }),
  });
  return {
    statements: [
      accept("own VIPs", VIP_CLASS),
      accept("own prefixes of plugins", PLUGIN_CLASS),
      ...(advertisePodCidr ? [accept("own pod CIDRs (--advertise-pod-cidr)", POD_CLASS)] : []),
      ...reflected(plan, set),
    ],
    default: "reject",
  };
}

function modification(
  { prepend, communities, nextHopSelf }: ExternalAttributes,
): Modification | undefined {
  const set: Modification = {
    ...(prepend === undefined ? {} : { prepend: { asn: prepend.asn, count: prepend.times } }),
    ...(communities.length === 0 ? {} : { communities: communities.map(communityText) }),
    ...(nextHopSelf ? { nextHop: "self" } : {}),
  };
  return Object.keys(set).length === 0 ? undefined : set;
}

function communityText(community: number): string {
  return `${Math.floor(community / 0x1_0000)}:${community % 0x1_0000}`;
}
