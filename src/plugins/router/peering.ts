/**
 * With whom this node speaks BGP, and how: a pure function of flags, nodes and their annotations, computed anew whenever
 * one of them changes. The speaker takes the difference, so that sessions which stay the same are left alone.
 */

import { contains, type Family, ipBytes, ipFamily, ipv4Text } from "../../kernel/ip.ts";
import type { Node } from "../../kernel/plugin.ts";
import {
  annotatedPeers,
  type BfdSettings,
  type ExternalPeer,
  type ExternalPeers,
} from "./external-peers.ts";
import { bestAddress, type NodeAddresses, nodeAddresses, nodeFamilies } from "./node.ts";
import type { RouterOptions } from "./options.ts";
import {
  isReflectionClient,
  isReflectionServer,
  nodeAsn,
  type NodeRole,
  nodeRole,
} from "./role.ts";

/** Graceful restart (RFC 4724) as this node offers it. Seconds. */
export interface GracefulRestart {
  readonly restartTime: number;
  readonly deferralTime: number;
}

/** What a session to a router outside may change of the paths that it is sent. */
export interface ExternalAttributes {
  readonly prepend?: { readonly asn: number; readonly times: number };
  readonly communities: readonly number[];
  /** Take the session's own address as the next hop (`--override-nexthop`). */
  readonly nextHopSelf: boolean;
}

/** One session to have. */
export interface PeerPlan {
  /** Canonical, and unique within a plan. */
  readonly address: string;
  readonly kind: "internal" | "external";
  /** The Node at the other end, of an internal one. */
  readonly node?: string;
  readonly asn: number;
  readonly port: number;
  /** Own end, canonical. */
  readonly local: string;
  readonly families: readonly Family[];
  readonly key?: Uint8Array;
  /** TTL of a session over several hops; absent: the peer is a neighbour. */
  readonly multihop?: number;
  readonly bfd?: BfdSettings;
  /** We reflect the routes of this peer (RFC 4456). */
  readonly reflectorClient: boolean;
}

/** The speaker and its sessions. */
export interface PeeringPlan {
  readonly asn: number;
  /** Dotted quad. */
  readonly routerId: string;
  /** Of a reflection server. */
  readonly clusterId?: string;
  readonly isReflector: boolean;
  readonly listen: { readonly addresses: readonly string[]; readonly port: number };
  /** Seconds; 0 or from 3 on. */
  readonly holdTime: number;
  readonly gracefulRestart?: GracefulRestart;
  readonly external: ExternalAttributes;
  /** Networks of which nothing is taken in, more specific routes included. */
  readonly importReject: readonly string[];
  readonly peers: readonly PeerPlan[];
}

export interface Peering {
  /** Absent: BGP cannot run, and a problem says why. */
  readonly plan?: PeeringPlan;
  readonly problems: readonly string[];
  /** The external peers that were found, to be given back where annotations cannot be read later. */
  readonly externalPeers: readonly ExternalPeer[];
}

export interface PeeringInput {
  /** Name of this node. */
  readonly self: string;
  readonly nodes: readonly Node[];
  readonly options: RouterOptions;
  /** Peers of the flags, which go before all annotations. */
  readonly globalPeers: ExternalPeers;
  /** What annotations said before, for as long as they say nothing that can be read. */
  readonly previous?: readonly ExternalPeer[];
}

/** RFC 4271: two octets. kube-router lets 65536 through, which is 0 on the wire. */
const MAX_HOLD = 65535;

export function planPeering(input: PeeringInput): Peering {
  const { self, nodes, options } = input;
  const node = nodes.find(({ metadata }) => metadata.name === self);
  if (node === undefined) {
    return refused(
      input,
      `There is no Node "${self}", so nothing is known of its BGP; let --hostname-override name this node`,
    );
  }
  const addresses = nodeAddresses(node);
  const families = nodeFamilies(addresses, options);
  if (addresses.primary === undefined || families.length === 0) {
    return refused(
      input,
      `Node "${self}" has no address of an enabled family in status.addresses; BGP waits for one`,
    );
  }
  const role = nodeRole(node, options);
  const routerId = routerIdOf(options.routerId, addresses.primary);
  const problems = [...role.problems];
  if (routerId === undefined) {
    problems.push(
      `The primary address "${addresses.primary}" is IPv6 and no router id; give one by --router-id, or let ` +
        "--router-id=generate make it",
    );
  }
  const own: Own = { name: self, addresses, primary: addresses.primary, families, role, options };
  const external = externalOf(input, node, own, problems);
  const { asn } = role;
  if (asn === undefined || routerId === undefined) {
    return { problems, externalPeers: external.found };
  }
  const internal = options.enableIbgp ? internalPeers(nodes, own, asn, problems) : [];
  const taken = new Set(external.peers.map(({ address }) => address));
  for (const { address, node: name } of internal) {
    if (taken.has(address)) {
      problems.push(
        `Peer "${address}" is node "${name}" and a router outside at once; the latter counts`,
      );
    }
  }
  const { bgpGracefulRestart, bgpGracefulRestartTime, bgpGracefulRestartDeferralTime } = options;
  return {
    problems,
    externalPeers: external.found,
    plan: {
      asn,
      routerId,
      ...(role.reflection === "server" ? { clusterId: role.clusterId ?? routerId } : {}),
      isReflector: role.reflection === "server",
      listen: { addresses: listenAddresses(own, problems), port: options.bgpPort },
      holdTime: Math.min(MAX_HOLD, Math.trunc(options.bgpHoldtime / 1000)),
      ...(bgpGracefulRestart
        ? {
          gracefulRestart: {
            restartTime: Math.max(1, Math.trunc(bgpGracefulRestartTime / 1000)),
            deferralTime: Math.max(1, Math.trunc(bgpGracefulRestartDeferralTime / 1000)),
          },
        }
        : {}),
      external: {
        ...(role.prepend === undefined ? {} : { prepend: role.prepend }),
        communities: role.communities,
        nextHopSelf: options.overrideNexthop,
      },
      importReject: role.importReject,
      peers: [...external.peers, ...internal.filter(({ address }) => !taken.has(address))],
    },
  };
}

/** What is known of this node. */
interface Own {
  readonly name: string;
  readonly addresses: NodeAddresses;
  readonly primary: string;
  readonly families: readonly Family[];
  readonly role: NodeRole;
  readonly options: RouterOptions;
}

function refused({ previous = [] }: PeeringInput, problem: string): Peering {
  return { problems: [problem], externalPeers: previous };
}

/** The router id that flags ask for; undefined where the node's address cannot be one. */
export function routerIdOf(flag: string, primary: string): string | undefined {
  if (flag === "generate") return generatedId(primary);
  if (flag !== "") return flag;
  return ipFamily(primary) === 4 ? primary : undefined;
}

/** FNV-1a of 32 bits over the 16 octets of the address, an IPv4 one as ::ffff:a.b.c.d, as kube-router makes it. */
function generatedId(primary: string): string {
  const bytes = ipBytes(primary) ?? new Uint8Array();
  const octets = bytes.length === 4 ? [...new Array(10).fill(0), 255, 255, ...bytes] : [...bytes];
  let hash = 0x811c9dc5;
  for (const octet of octets) hash = Math.imul(hash ^ octet, 0x01000193);
  return ipv4Text(hash >>> 0);
}

function listenAddresses(own: Own, problems: string[]): readonly string[] {
  const given = own.role.listen ??
    own.families.flatMap((family) => bestAddress(own.addresses, family) ?? []);
  return given.filter((address) => {
    const family = ipFamily(address);
    if (family !== undefined && own.families.includes(family)) return true;
    problems.push(
      `Cannot listen on "${address}": this node does not speak IPv${family ?? "?"}; it is left out`,
    );
    return false;
  });
}

function externalOf(
  { globalPeers, previous }: PeeringInput,
  node: Node,
  own: Own,
  problems: string[],
): { readonly peers: readonly PeerPlan[]; readonly found: readonly ExternalPeer[] } {
  // Peers of flags switch all annotations off, as in kube-router.
  const byFlags = own.options.peerRouterIps.length > 0;
  const given = byFlags ? globalPeers : annotatedPeers(node.metadata.annotations);
  problems.push(...given.problems);
  const kept = given.unreadable === true && previous !== undefined;
  if (kept && previous.length > 0) {
    problems.push(`The ${previous.length} peers of before stay until it can be read`);
  }
  const found = kept ? previous : given.peers;
  const { peerRouterMultihopTtl } = own.options;
  const peers = found.flatMap((peer): readonly PeerPlan[] => {
    const family = ipFamily(peer.address) ?? 4;
    const local = peer.local ?? bestAddress(own.addresses, family);
    if (local === undefined || ipFamily(local) !== family) {
      problems.push(
        local === undefined
          ? `Peer "${peer.address}" is left out: this node has no IPv${family} address`
          : `Peer "${peer.address}" is left out: "${local}", this end of the session, is of another family`,
      );
      return [];
    }
    if (!own.families.includes(family)) {
      problems.push(`Peer "${peer.address}" is left out: --enable-ipv${family}=false`);
      return [];
    }
    return [{
      address: peer.address,
      kind: "external",
      asn: peer.asn,
      port: peer.port,
      local,
      families: own.families,
      ...(peer.key === undefined ? {} : { key: peer.key }),
      ...(peerRouterMultihopTtl >= 2 ? { multihop: peerRouterMultihopTtl } : {}),
      ...(peer.bfd === undefined ? {} : { bfd: peer.bfd }),
      reflectorClient: false,
    }];
  });
  return { peers, found };
}

/** The nodes that this one peers with. */
function internalPeers(
  nodes: readonly Node[],
  own: Own,
  asn: number,
  problems: string[],
): readonly PeerPlan[] {
  const peers = new Map<string, PeerPlan>();
  for (const node of nodes.toSorted((a, b) => a.metadata.name < b.metadata.name ? -1 : 1)) {
    const { name } = node.metadata;
    if (name === own.name) continue;
    const addresses = nodeAddresses(node);
    const { primary } = addresses;
    // Without one it is on its way (an external cloud provider sets it later), and waited for in silence.
    if (primary === undefined || primary === own.primary) continue;
    if (!reflects(own.role, node)) continue;
    if (!own.options.nodesFullMesh && nodeAsn(node.metadata.annotations) !== asn) continue;
    const family = ipFamily(primary) ?? 4;
    if (family !== ipFamily(own.primary)) {
      problems.push(
        `Node "${name}" is no peer: its primary address "${primary}" is of another family than "${own.primary}"`,
      );
      continue;
    }
    const other = peers.get(primary);
    if (other !== undefined) {
      problems.push(
        `Nodes "${other.node}" and "${name}" have one address "${primary}"; the first one counts`,
      );
      continue;
    }
    const theirs = nodeFamilies(addresses, { enableIpv4: true, enableIpv6: true });
    peers.set(primary, {
      address: primary,
      kind: "internal",
      node: name,
      asn,
      port: own.options.bgpPort,
      local: own.primary,
      families: own.families.filter((each) => theirs.includes(each)),
      reflectorClient: own.role.reflection === "server" && isReflectionClient(node),
    });
  }
  return [...peers.values()];
}

/** Whether reflection leaves a session to that node: clients speak with servers alone. */
function reflects({ reflection }: NodeRole, node: Node): boolean {
  if (reflection === "server") return true;
  if (reflection === "client") return isReflectionServer(node);
  return !isReflectionClient(node);
}

/** Whether a route to `prefix` is refused: it is within one of the networks. */
export function isRejected(importReject: readonly string[], prefix: string): boolean {
  const slash = prefix.lastIndexOf("/");
  const length = Number(prefix.slice(slash + 1));
  return importReject.some((cidr) =>
    Number(cidr.slice(cidr.lastIndexOf("/") + 1)) <= length &&
    contains(cidr, prefix.slice(0, slash))
  );
}
