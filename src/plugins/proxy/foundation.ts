/** What the proxy needs of the node whatever Services there are: its link, its sysctls, its masquerade rules. */

import type {
  Chain,
  FilterRule,
  IpvsTimeout,
  Jump,
  Link,
  Match,
  Route,
  Sysctl,
} from "../../kernel/plugin.ts";
import type { NodeFamily } from "./node.ts";
import type { ProxyOptions } from "./options.ts";
import { vipRoute } from "./services.ts";
import { VIP_LINK } from "./vip-link.ts";

export const MASQUERADE_CHAIN = "KUBE-ROUTER-MASQUERADE";

export const vipLink: Link = { name: VIP_LINK, type: "dummy", up: true };

/**
 * Sysctls that the proxy needs, with why.
 *
 * @param release of Linux, as `uname -r` prints it
 */
export function sysctls(families: readonly NodeFamily[], release: string): readonly Sysctl[] {
  const has = (family: 4 | 6): boolean => families.some((f) => f.family === family);
  return [
    // IPVS connections must be in conntrack, or netfilter never sees them and masquerades nothing.
    { path: "net/ipv4/vs/conntrack", value: "1" },
    // A connection whose destination is gone ends at once, so that UDP clients fail over.
    { path: "net/ipv4/vs/expire_nodest_conn", value: "1" },
    // Affinity to a destination that drains ends.
    { path: "net/ipv4/vs/expire_quiescent_template", value: "1" },
    // Mode 0 sends a client port that is used again to the endpoint of before, even if that one drains; before Linux 5.9
    // mode 1 delays it by a second when conntrack is on, which is worse.
    { path: "net/ipv4/vs/conn_reuse_mode", value: reschedulesReusedPorts(release) ? "1" : "0" },
    // A segment out of its window is INVALID otherwise, and none of that is translated: where a connection is masqueraded, a
    // stray one of the pod's would meet the node's own TCP, which resets the pod (S34).
    { path: "net/netfilter/nf_conntrack_tcp_be_liberal", value: "1" },
    ...(has(4)
      ? [
        { path: "net/ipv4/ip_forward", value: "1" },
        // A VIP is a local address, but only this node's own packets may know: no ARP for it, none from it.
        { path: "net/ipv4/conf/all/arp_ignore", value: "1" },
        { path: "net/ipv4/conf/all/arp_announce", value: "2" },
        // Answers of a pod to another pod on the same bridge must pass netfilter, or they bypass IPVS.
        { path: "net/bridge/bridge-nf-call-iptables", value: "1" },
      ]
      : []),
    ...(has(6)
      ? [
        { path: "net/ipv6/conf/all/forwarding", value: "1" },
        { path: "net/bridge/bridge-nf-call-ip6tables", value: "1" },
      ]
      : []),
  ];
}

/** The time-outs that flags set, in whole seconds: less than one is one, since Linux takes 0 for "leave it". */
export function timeouts(
  { serviceTcpTimeout, serviceTcpfinTimeout, serviceUdpTimeout }: Pick<
    ProxyOptions,
    "serviceTcpTimeout" | "serviceTcpfinTimeout" | "serviceUdpTimeout"
  >,
): readonly IpvsTimeout[] {
  return [
    { name: "tcp", ms: serviceTcpTimeout } as const,
    { name: "tcpfin", ms: serviceTcpfinTimeout } as const,
    { name: "udp", ms: serviceUdpTimeout } as const,
  ].filter(({ ms }) => ms > 0).map(({ name, ms }) => ({ name, seconds: Math.ceil(ms / 1000) }));
}

/** Linux 5.9 reuses connections without a delay where conntrack does so too. */
function reschedulesReusedPorts(release: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  return major > 5 || (major === 5 && minor >= 9);
}

const IPVS_NAT: readonly Match[] = [{ kind: "ipvs", direction: "original", method: "masq" }];

/**
 * Masquerading, one chain a family. What comes from or goes to a pod of this node keeps its source, since the answer
 * passes here anyway; all else (the way from outside to a pod on another node) takes the node's address. Where the
 * node's pod CIDR is not known, everything does.
 */
export function masquerade(
  { family, address, podCIDRs }: NodeFamily,
  masqueradeAll: boolean,
): { readonly chain: Chain; readonly jump: Jump } {
  const kept: readonly FilterRule[] = masqueradeAll
    ? []
    : podCIDRs.flatMap((prefix) =>
      (["source", "destination"] as const).map((kind): FilterRule => ({
        matches: [{ kind, prefix }],
        target: { kind: "return" },
        comment: kind === "source" ? "from a pod of this node" : "to a pod of this node",
      }))
    );
  const chain: Chain = {
    family,
    table: "nat",
    name: MASQUERADE_CHAIN,
    rules: [
      ...kept,
      {
        matches: [],
        target: { kind: "snat", to: address, fullyRandom: true },
        comment: "answers must come back here",
      },
    ],
  };
  const jump: Jump = {
    family,
    table: "nat",
    from: "POSTROUTING",
    to: MASQUERADE_CHAIN,
    matches: IPVS_NAT,
    comment: "connections to services",
  };
  return { chain, jump };
}

/**
 * Local routes that serve whole Service ranges, for `--vip-binding=route`. On loopback, since Linux removes all IPv4 routes
 * of a link with its last IPv4 address, and that of the VIP link may go at any time.
 */
export function rangeRoutes(
  ranges: readonly { readonly family: 4 | 6; readonly text: string }[],
  families: readonly NodeFamily[],
): readonly Route[] {
  return ranges.flatMap((range) => {
    const node = families.find((f) => f.family === range.family);
    return node === undefined ? [] : [vipRoute(range.family, range.text, node.address, "lo")];
  });
}
