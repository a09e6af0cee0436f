/** For each kind: items to try it with, what they hang on, and what another tool would do. */

import type { TableRef } from "../../src/kernel/dataplane/resource.ts";
import { ipvsServiceId } from "../../src/kernel/dataplane/resources/ipvs.ts";
import { type Route, tables } from "../../src/kernel/dataplane/resources/mod.ts";
import { CNI, NODE, POD, type WorldKind } from "./world.ts";

/** An item with its table. */
export interface Piece<T = unknown> {
  readonly ref: TableRef<T>;
  readonly item: T;
}

export interface Example {
  /** What stands in the test's name. */
  readonly name: string;
  readonly ref: TableRef<unknown>;
  /** What this machine must have for it, as `WorldKind.lacks` names it; absent: the kind. */
  readonly needs?: string;
  /** What must be there first, in order. */
  readonly parents: readonly Piece[];
  readonly item: unknown;
  /** The same key with another value; absent where a key has one value only. */
  readonly changed?: unknown;
  /** Another key. */
  readonly second: unknown;
  /** Nothing to hang on: what the create of `item` answers without its parents. */
  readonly orphan?: boolean;
  /** A foreign item of the same key that another tool can make. */
  readonly foreign?: unknown;
  /** Linux keeps ours and an equal foreign one apart: rules that differ in their protocol only. */
  readonly beside?: boolean;
  /** The table itself does not look at the mark again when it is told to delete: the planner never asks for that. */
  readonly trusting?: boolean;
  /** What a drift by hand is tried with; absent: the kind is read back in full rounds only. */
  readonly watched?: boolean;
}

const LINK = "kube-dummy-if";

function piece<T>(ref: TableRef<T>, item: T): Piece {
  return { ref, item } as unknown as Piece;
}

interface ExampleOf<T> {
  readonly name: string;
  readonly needs?: string;
  readonly parents?: readonly Piece[];
  readonly item: T;
  readonly changed?: T;
  readonly second: T;
  readonly orphan?: boolean;
  readonly foreign?: T;
  readonly beside?: boolean;
  readonly trusting?: boolean;
  readonly watched?: boolean;
}

function example<T>(ref: TableRef<T>, of: ExampleOf<T>): Example {
  return { parents: [], ...of, ref } as unknown as Example;
}

/** The examples of a world. */
export function examples(world: WorldKind): readonly Example[] {
  const link = { name: LINK, type: world.link, up: true } as const;
  const tunnel = {
    name: "tun-e443169117a",
    type: "ipip",
    up: true,
    tunnel: { local: NODE[4], remote: "192.0.2.77", ttl: 0 },
  } as const;
  const onLink = [piece(tables.links, link)];
  const vip4 = { family: 4, address: "10.96.0.1", prefix: 32, link: LINK } as const;
  const vip6 = { family: 6, address: "fd00::1", prefix: 128, link: LINK } as const;
  const tunnel4 = {
    pod: POD[4],
    name: "kube-tunnel-if",
    type: "ipip",
    up: true,
    reversePath: "loose",
  } as const;
  const tunnel6 = { pod: POD[6], name: "kube-tunnel-v6", type: "ip6tnl", up: true } as const;
  const inPod4 = {
    pod: POD[4],
    link: tunnel4.name,
    family: 4,
    address: "203.0.113.10",
    prefix: 32,
  } as const;
  const inPod6 = {
    pod: POD[6],
    link: tunnel6.name,
    family: 6,
    address: "fd00:33::10",
    prefix: 128,
  } as const;
  const set = { name: "kube-router-svip", type: "hash:ip", family: 4 } as const;
  const nets = { name: "kube-router-nets", type: "hash:net", family: 4 } as const;
  const ports6 = { name: "inet6:kube-router-svip-prt", type: "hash:ip,port", family: 6 } as const;
  const sources = { name: "kube-router-svip-src", type: "hash:ip,port,net", family: 4 } as const;
  const pairs6 = { name: "inet6:kube-router-hairpin", type: "hash:ip,port,ip", family: 6 } as const;
  const service4 = { id: ipvsServiceId(4, "tcp", "10.96.0.1", 80), ...PLAIN };
  const service6 = { id: ipvsServiceId(6, "udp", "fd00::1", 53), ...PLAIN };
  const chain4 = {
    family: 4,
    table: "nat",
    name: "KUBE-ROUTER-ONE",
    rules: [{
      matches: [{ kind: "source", prefix: "10.0.0.0/24", negate: true }],
      target: { kind: "return" },
      comment: 'from "elsewhere" -j DROP',
    }],
  } as const;
  const chain6 = { ...chain4, family: 6, rules: [] } as const;
  const jump4 = {
    family: 4,
    table: "nat",
    from: "POSTROUTING",
    to: chain4.name,
    matches: [],
  } as const;

  return [
    example(tables.links, {
      name: "link",
      item: link,
      changed: { ...link, mtu: 1400 },
      second: { ...link, name: "kube-other", up: false },
      foreign: link,
      watched: true,
    }),
    example(tables.fouPorts, {
      name: "FOU port",
      item: { family: 4, port: 5555 },
      second: { family: 6, port: 5556 },
    }),
    example(tables.links, {
      name: "tunnel",
      needs: "tunnel",
      item: tunnel,
      changed: { ...tunnel, tunnel: { ...tunnel.tunnel, remote: "192.0.2.78", ttl: 225 } },
      second: {
        name: "tun-ff664d49fff",
        type: "ip6tnl",
        up: true,
        tunnel: { local: NODE[6], remote: "2001:db8::77", ttl: 0 },
      },
      watched: true,
    }),
    example(tables.links, {
      name: "tunnel in UDP",
      needs: "tunnel in UDP",
      item: { ...tunnel, tunnel: { ...tunnel.tunnel, ttl: 225, gue: { port: 5555 } } },
      changed: { ...tunnel, tunnel: { ...tunnel.tunnel, ttl: 225, gue: { port: 5556 } } },
      second: {
        name: "tun-ff664d49fff",
        type: "ip6tnl",
        up: true,
        tunnel: { local: NODE[6], remote: "2001:db8::77", ttl: 225, gue: { port: 5555 } },
      },
    }),
    example(tables.bridges, {
      name: "bridge",
      item: { name: "kube-bridge", mtu: 1400 },
      changed: { name: "kube-bridge", mtu: 1300 },
      second: { name: "kube-bridge2" },
      watched: true,
    }),
    example(tables.sysctls, {
      name: "sysctl",
      item: { path: "net/ipv4/conf/node0/arp_ignore", value: "1" },
      changed: { path: "net/ipv4/conf/node0/arp_ignore", value: "2" },
      second: { path: "net/ipv4/conf/node0/arp_announce", value: "2" },
    }),
    example(tables.addresses, {
      name: "IPv4 address",
      parents: onLink,
      item: vip4,
      second: { ...vip4, address: "10.96.0.2" },
      orphan: true,
      watched: true,
    }),
    example(tables.addresses, {
      name: "IPv6 address",
      parents: onLink,
      item: vip6,
      second: { ...vip6, address: "fd00::2" },
      orphan: true,
      watched: true,
    }),
    example(tables.routes, {
      name: "IPv4 local route of an address",
      parents: [...onLink, piece(tables.addresses, vip4)],
      item: localRoute(4, "10.96.0.1/32", NODE[4]),
      changed: localRoute(4, "10.96.0.1/32"),
      second: localRoute(4, "10.96.4.0/24", NODE[4]),
      orphan: true,
      watched: true,
    }),
    example(tables.routes, {
      name: "IPv6 local route of an address",
      parents: [...onLink, piece(tables.addresses, vip6)],
      item: localRoute(6, "fd00::1/128", NODE[6]),
      changed: localRoute(6, "fd00::1/128"),
      second: localRoute(6, "fd00:4::/64", NODE[6]),
      orphan: true,
      watched: true,
    }),
    example(tables.routes, {
      name: "route through a gateway",
      item: {
        family: 4,
        table: 254,
        type: "unicast",
        destination: "203.0.113.0/24",
        metric: 7,
        nextHops: [{ gateway: "192.0.2.7", link: "node0" }],
      },
      changed: {
        family: 4,
        table: 254,
        type: "unicast",
        destination: "203.0.113.0/24",
        metric: 7,
        nextHops: ["192.0.2.7", "192.0.2.8"].map((gateway) => ({ gateway, link: "node0" })),
      },
      second: {
        family: 6,
        table: 254,
        type: "unreachable",
        destination: "2001:db8:7::/48",
        metric: 1024,
        nextHops: [],
      },
      watched: true,
    }),
    example(tables.rules, {
      name: "rule",
      item: { family: 4, priority: 32764, mark: 0x3eb3, table: 78 },
      second: { family: 6, priority: 32765, from: "fd00::/8", table: 79 },
      foreign: { family: 4, priority: 32764, mark: 0x3eb3, table: 78 },
      beside: true,
      watched: true,
    }),
    example(tables.podLinks, {
      name: "tunnel in a pod",
      item: tunnel4,
      changed: { ...tunnel4, up: false },
      second: tunnel6,
      foreign: tunnel4,
    }),
    example(tables.podAddresses, {
      name: "IPv4 address in a pod",
      parents: [piece(tables.podLinks, tunnel4)],
      item: inPod4,
      second: { ...inPod4, address: "203.0.113.11" },
      orphan: true,
      watched: true,
    }),
    example(tables.podAddresses, {
      name: "IPv6 address in a pod",
      parents: [piece(tables.podLinks, tunnel6)],
      item: inPod6,
      second: { ...inPod6, address: "fd00:33::11" },
      orphan: true,
    }),
    example(tables.ipsets, {
      name: "ipset",
      item: { ...set, name: "kube-router-alone" },
      changed: { ...set, name: "kube-router-alone", type: "hash:ip,port" },
      second: ports6,
      watched: true,
    }),
    example(tables.ipsets, {
      name: "ipset with options",
      item: { ...set, name: "kube-router-options", timeout: 0 },
      changed: { ...set, name: "kube-router-options", timeout: 0, maxElements: 100_000 },
      second: { ...pairs6, name: "inet6:kube-router-options" },
      watched: true,
    }),
    example(tables.ipsetMembers, {
      name: "member of a hash:ip set",
      parents: [piece(tables.ipsets, set)],
      item: { set: set.name, entry: "10.96.0.1" },
      second: { set: set.name, entry: "10.96.0.2" },
      orphan: true,
      watched: true,
    }),
    example(tables.ipsetMembers, {
      name: "member of a hash:net set",
      parents: [piece(tables.ipsets, nets)],
      item: { set: nets.name, entry: "10.96.0.0/16" },
      changed: { set: nets.name, entry: "10.96.0.0/16", nomatch: true },
      second: { set: nets.name, entry: "10.96.0.2" },
      orphan: true,
    }),
    example(tables.ipsetMembers, {
      name: "member of an IPv6 hash:ip,port set",
      parents: [piece(tables.ipsets, ports6)],
      item: { set: ports6.name, entry: "fd00::1,tcp:80" },
      second: { set: ports6.name, entry: "fd00::1,sctp:80" },
      orphan: true,
      watched: true,
    }),
    example(tables.ipsetMembers, {
      name: "member of a hash:ip,port,net set",
      parents: [piece(tables.ipsets, sources)],
      item: { set: sources.name, entry: "10.96.0.1,tcp:80,192.168.0.0/24" },
      second: { set: sources.name, entry: "10.96.0.1,udp:53,192.168.0.7" },
      orphan: true,
      watched: true,
    }),
    example(tables.ipsetMembers, {
      name: "member of an IPv6 hash:ip,port,ip set",
      parents: [piece(tables.ipsets, pairs6)],
      item: { set: pairs6.name, entry: "fd00::1,tcp:80,fd00::1" },
      second: { set: pairs6.name, entry: "fd00::1,udp:53,fd00::2" },
      orphan: true,
      watched: true,
    }),
    example(tables.chains, {
      name: "chain",
      item: chain4,
      changed: { ...chain4, rules: [...chain4.rules, ACCEPT] },
      second: chain6,
      watched: true,
    }),
    example(tables.jumps, {
      name: "jump",
      parents: [piece(tables.chains, chain4)],
      item: jump4,
      changed: { ...jump4, first: true, comment: "before all others" },
      second: { ...jump4, from: "OUTPUT" },
      orphan: true,
      watched: true,
    }),
    example(tables.ipvsServices, {
      name: "IPVS service",
      parents: [
        piece(tables.ipvsServices, { id: ipvsServiceId(4, "tcp", "10.96.0.9", 80), ...PLAIN }),
      ],
      item: service4,
      changed: { ...service4, scheduler: "lc", persistence: 300 },
      second: service6,
      foreign: service4,
      trusting: true,
      watched: true,
    }),
    example(tables.ipvsDestinations, {
      name: "IPVS destination",
      parents: [piece(tables.ipvsServices, service4)],
      item: { ...destination(service4.id, "10.1.0.1"), weight: 1 },
      changed: { ...destination(service4.id, "10.1.0.1"), weight: 0 },
      second: destination(service4.id, "10.1.0.2"),
      orphan: true,
      watched: true,
    }),
    example(tables.cniConfs, {
      name: "CNI configuration",
      item: { path: CNI.conf, podCidrs: ["10.244.1.0/24", "fd00:1::/64"], mtu: 1400 },
      changed: { path: CNI.conf, podCidrs: ["10.244.2.0/24"], mtu: 1300 },
      second: { path: CNI.list, podCidrs: ["10.244.3.0/24"] },
    }),
  ];
}

const PLAIN = { scheduler: "rr", schedulerFlags: 0, persistence: 0 } as const;
/** Valid below every base chain: Linux refuses to masquerade what is reached from OUTPUT. */
const ACCEPT = { matches: [], target: { kind: "accept" } } as const;

function destination(service: ReturnType<typeof ipvsServiceId>, address: string) {
  return { service, address, port: 8080, weight: 1, method: "masq" } as const;
}

function localRoute(family: 4 | 6, prefix: string, source?: string): Route {
  return {
    family,
    table: 255,
    type: "local",
    destination: prefix,
    metric: family === 4 ? 0 : 1024,
    nextHops: [{ link: LINK }],
    ...(source === undefined ? {} : { source }),
  };
}
