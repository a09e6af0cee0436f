/** From a topology to the steps that build it: namespaces, links, addresses and routes, for guest/hands.py. */

import { addressOf, type Cidr, contains, familyOf, nth, parseCidr, subnetOf } from "./cidr.ts";
import type { ClientSpec, NodeSpec, RouterSpec, Topology } from "./topology.ts";

/** A method of guest/netns.py with its arguments, or `view`. */
export type Step = readonly [string, ...(string | boolean | null | readonly string[])[]];

/** The lab's own namespace. */
export const ROOT = "@";
export const BRIDGE = "kube-bridge";
/** Folders that each node has for itself. */
export const NODE_FOLDERS = [
  "/run/routelet",
  "/var/lib/routelet",
  "/etc/routelet",
  "/etc/cni/net.d",
  "/var/lib/kube-router",
];
const ROUTER_FOLDERS = ["/run/bird", "/run/frr", "/etc/frr", "/etc/bird", "/var/lib/frr"];

export interface Layout {
  readonly steps: readonly Step[];
  /** Subnet (`192.168.1.0/24`) → the lab's router in it. */
  readonly gateways: ReadonlyMap<string, string>;
  /** Namespace → its interface's other end, which is the lab's. */
  readonly cables: ReadonlyMap<string, Cable>;
}

export interface Cable {
  readonly namespace: string;
  readonly device: string;
}

type Host = NodeSpec | RouterSpec | ClientSpec;

export function layOut(topology: Topology): Layout {
  const hosts: readonly (readonly [string, Host])[] = [
    ...topology.nodes.map((host) => [`node-${host.name}`, host] as const),
    ...topology.routers.map((host) => [`router-${host.name}`, host] as const),
    ...topology.clients.map((host) => [`client-${host.name}`, host] as const),
  ];
  const gateways = findGateways(hosts.map(([, host]) => host));
  const segments = joinSegments(hosts.map(([, host]) => host));
  const cables = new Map<string, Cable>();
  const steps: Step[] = [];

  // Hosts first: a new namespace starts with the IPv4 settings of the lab's own, so forwarding is
  // switched on there at the end.
  hosts.forEach(([namespace, host], index) => {
    const device = `l${index}`;
    cables.set(namespace, { namespace: ROOT, device });
    steps.push(...newNamespace(namespace));
    steps.push(["veth", ROOT, device, null, namespace, "eth0", mac(1, index)]);
    steps.push(["up", namespace, "eth0"]);
    for (const cidr of host.addresses) {
      steps.push(["address", namespace, "eth0", text(cidr)]);
    }
  });

  segments.forEach((subnets, index) => {
    const bridge = `sn${index}`;
    steps.push(["bridge", ROOT, bridge, mac(2, index)]);
    // Frames between hosts of one subnet are none of the lab's firewall's business.
    for (const subnet of subnets) {
      const gateway = gateways.get(subnet);
      if (gateway !== undefined) {
        steps.push(["address", ROOT, bridge, `${gateway}/${subnet.split("/")[1]}`]);
      }
    }
  });
  hosts.forEach(([, host], index) => {
    const bridge = segments.findIndex((subnets) =>
      host.addresses.some((cidr) => subnets.has(subnetOf(cidr)))
    );
    steps.push(["master", ROOT, `l${index}`, `sn${bridge}`], ["up", ROOT, `l${index}`]);
  });

  for (const [namespace, host] of hosts) {
    const wanted = "gateways" in host ? host.gateways : [];
    for (const cidr of host.addresses) {
      const chosen = wanted.find((address) => familyOf(address) === cidr.family) ??
        gateways.get(subnetOf(cidr));
      if (chosen === undefined) continue;
      const outside = !contains(cidr, chosen);
      steps.push(["route", namespace, anywhere(cidr.family), chosen, outside ? "eth0" : null]);
    }
  }
  topology.nodes.forEach((node, index) => steps.push(...nodeSteps(topology, node, index)));
  for (const router of topology.routers) {
    steps.push(...forwarding(`router-${router.name}`));
    steps.push(["view", `router-${router.name}`, router.name, ROUTER_FOLDERS]);
  }
  steps.push(...forwarding(ROOT));
  for (const key of ["net/ipv4/conf/all/send_redirects", "net/ipv4/conf/default/send_redirects"]) {
    steps.push(["sysctl", ROOT, key, "0"]);
  }
  if (topology.podRoutes === "lab") {
    for (const node of topology.nodes) {
      for (const cidr of node.podCIDRs) {
        const via = node.addresses.find((address) => address.family === cidr.family);
        if (via === undefined) continue;
        steps.push(["route", ROOT, subnetOf(cidr), addressOf(via), null]);
      }
    }
  }
  return { steps, gateways, cables };
}

/** What a pod gets on its node: a namespace, a cable into the bridge, addresses and a way out. */
export function podSteps(
  namespace: string,
  node: NodeSpec,
  cable: string,
  addresses: readonly string[],
): readonly Step[] {
  const host = `node-${node.name}`;
  const steps: Step[] = [
    ...newNamespace(namespace),
    ["veth", host, cable, null, namespace, "eth0", null],
    ["master", host, cable, BRIDGE],
    ["up", host, cable],
    ["up", namespace, "eth0"],
  ];
  for (const address of addresses) {
    const cidr = node.podCIDRs.find((range) => contains(range, address));
    const gateway = bridgeAddress(node, familyOf(address));
    if (cidr !== undefined) {
      steps.push(["address", namespace, "eth0", `${address}/${cidr.length}`]);
      steps.push(["route", namespace, anywhere(cidr.family), gateway ?? null, null]);
      continue;
    }
    // An address from elsewhere: its node knows where it is, nobody else does.
    const alone = `${address}/${familyOf(address) === 4 ? 32 : 128}`;
    steps.push(["address", namespace, "eth0", alone]);
    steps.push(["route", host, alone, null, BRIDGE]);
    if (gateway !== undefined) {
      steps.push(["route", namespace, anywhere(familyOf(address)), gateway, "eth0"]);
    }
  }
  for (const address of addresses) steps.push(["announce", namespace, "eth0", address]);
  return steps;
}

/** The first address of the node's pod CIDR, which the bridge has. */
export function bridgeAddress(node: NodeSpec, family: 4 | 6): string | undefined {
  const cidr = node.podCIDRs.find((range) => range.family === family);
  return cidr === undefined ? undefined : nth(cidr, 1);
}

function nodeSteps(topology: Topology, node: NodeSpec, index: number): readonly Step[] {
  const namespace = `node-${node.name}`;
  const steps: Step[] = [
    // A fixed address: without one a bridge takes its lowest port's, and changes it with the ports.
    ["bridge", namespace, BRIDGE, mac(3, index)],
    // As the CNI's bridge plugin does for its pods. All other settings are the agent's business.
    ...forwarding(namespace),
    // On since br_netfilter is loaded; whoever needs it must say so, as on hosts where it is off.
    ["sysctl", namespace, "net/bridge/bridge-nf-call-iptables", "0"],
    ["sysctl", namespace, "net/bridge/bridge-nf-call-ip6tables", "0"],
  ];
  for (const cidr of node.podCIDRs) {
    steps.push(["address", namespace, BRIDGE, `${nth(cidr, 1)}/${cidr.length}`]);
  }
  if (topology.podRoutes === "lab") {
    for (const other of topology.nodes) {
      if (other === node) continue;
      for (const cidr of other.podCIDRs) {
        const via = other.addresses.find((address) => address.family === cidr.family);
        const own = node.addresses.find((address) => address.family === cidr.family);
        if (via === undefined || own === undefined || !contains(own, addressOf(via))) continue;
        steps.push(["route", namespace, subnetOf(cidr), addressOf(via), null]);
      }
    }
  }
  // Later interfaces, the agent's own, are checked for duplicates as on any host.
  steps.push(["sysctl", namespace, "net/ipv6/conf/default/accept_dad", "1"]);
  steps.push(["view", namespace, node.name, NODE_FOLDERS]);
  return steps;
}

function newNamespace(namespace: string): readonly Step[] {
  return [
    ["create", namespace],
    ["sysctl", namespace, "net/ipv4/conf/all/rp_filter", "0"],
    ["sysctl", namespace, "net/ipv4/conf/default/rp_filter", "0"],
    // Addresses are ready when they are there, and nobody waits for router advertisements.
    ["sysctl", namespace, "net/ipv6/conf/default/accept_dad", "0"],
    ["sysctl", namespace, "net/ipv6/conf/all/accept_dad", "0"],
    ["sysctl", namespace, "net/ipv6/conf/default/accept_ra", "0"],
    ["sysctl", namespace, "net/ipv4/ip_forward", "0"],
  ];
}

function forwarding(namespace: string): readonly Step[] {
  return [
    ["sysctl", namespace, "net/ipv4/ip_forward", "1"],
    ["sysctl", namespace, "net/ipv6/conf/all/forwarding", "1"],
  ];
}

/** The lab's router takes the last address of a subnet that nobody has. */
function findGateways(hosts: readonly Host[]): ReadonlyMap<string, string> {
  const taken = new Set(hosts.flatMap((host) => host.addresses.map(addressOf)));
  // A client's gateway may be an address that a script moves between routers.
  for (const host of hosts) {
    if ("gateways" in host) host.gateways.forEach((address) => taken.add(address));
  }
  const gateways = new Map<string, string>();
  for (const cidr of hosts.flatMap((host) => host.addresses)) {
    const subnet = subnetOf(cidr);
    if (gateways.has(subnet)) continue;
    const bits = (cidr.family === 4 ? 32 : 128) - cidr.length;
    if (bits < 2) continue;
    const range = parseCidr(subnet);
    // IPv4's last address is the broadcast. IPv6 has none, but ::fffe reads better than all ones.
    for (let back = 2; back < Math.min(2 ** bits - 1, 250); back++) {
      const address = cidr.family === 6 && bits >= 16
        ? nth(range, 65536 - back)
        : nth(range, -back);
      if (taken.has(address)) continue;
      gateways.set(subnet, address);
      break;
    }
  }
  return gateways;
}

/** Subnets that share a host are on one wire (a host has one interface for both families). */
function joinSegments(hosts: readonly Host[]): readonly ReadonlySet<string>[] {
  const segments: Set<string>[] = [];
  for (const host of hosts) {
    const own = new Set(host.addresses.map(subnetOf));
    const touching = segments.filter((segment) => [...own].some((subnet) => segment.has(subnet)));
    const [into, ...others] = touching;
    if (into === undefined) {
      segments.push(own);
      continue;
    }
    for (const subnet of own) into.add(subnet);
    for (const other of others) {
      for (const subnet of other) into.add(subnet);
      segments.splice(segments.indexOf(other), 1);
    }
  }
  return segments;
}

function mac(kind: number, index: number): string {
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  return `02:00:00:${hex(kind)}:${hex(index >> 8)}:${hex(index & 255)}`;
}

function anywhere(family: 4 | 6): string {
  return family === 4 ? "0.0.0.0/0" : "::/0";
}

function text(cidr: Cidr): string {
  return `${addressOf(cidr)}/${cidr.length}`;
}
