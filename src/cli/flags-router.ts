/** The router's part of the table of flags: pod networking, BGP and its peers. */

import { bool, choice, duration, ips, passwords, text, uint, uints } from "./flag-kinds.ts";
import { flag, MINUTE, NO_NUMBERS, NO_PATHS, positive, SECOND } from "./flag-spec.ts";

export const ROUTER_FLAGS = {
  // Pod networking
  "enable-cni": flag(
    bool,
    true,
    "Pod networking",
    "Write the node's pod CIDRs into the CNI configuration",
  ),
  "auto-mtu": flag(
    bool,
    true,
    "Pod networking",
    "Set the MTU of bridge and pods by the uplink",
  ),
  "enable-overlay": flag(
    bool,
    true,
    "Pod networking",
    "Use tunnels between nodes, by default only across subnets",
  ),
  "overlay-type": flag(
    choice("subnet", "full"),
    "subnet",
    "Pod networking",
    "Tunnels across subnets only, or between all nodes",
  ),
  "overlay-encap": flag(
    choice("ipip", "fou"),
    "ipip",
    "Pod networking",
    "Encapsulation of tunnels",
  ),
  "overlay-encap-port": flag(
    uint(1024, 65535, "uint16"),
    5555,
    "Pod networking",
    "UDP port of FOU tunnels",
  ),
  "enable-pod-egress": flag(
    bool,
    true,
    "Pod networking",
    "Give pods' traffic to outside of the cluster the node's address as its source",
  ),
  "disable-source-dest-check": flag(
    bool,
    true,
    "Pod networking",
    "On AWS, show as a problem that each instance's source and destination check has to be turned off, which kube-router does " +
      "by itself and routelet, which calls no cloud, does not; elsewhere there is no such check, and the flag has no effect",
    {
      warning:
        "it calls no cloud: elsewhere than on AWS it has no effect, and on AWS turn the source and destination check of " +
        "instances off yourself, or use --overlay-type=full",
    },
  ),
  "routes-sync-period": flag(
    duration,
    5 * MINUTE,
    "Pod networking",
    "Pause between full syncs of routes and announcements",
    positive,
  ),
  "injected-routes-sync-period": flag(
    duration,
    MINUTE,
    "Pod networking",
    "Pause between comparisons of Linux's routes with the learned ones",
    positive,
  ),
  "cluster-cidr": flag(
    text,
    "",
    "Pod networking",
    "Accepted for old command lines and ignored",
    {
      replacement:
        "pod CIDRs come from each node's spec.podCIDRs or its annotation kube-router.io/pod-cidrs",
    },
  ),

  // BGP
  "cluster-asn": flag(
    uint(0, 4294967294),
    0,
    "BGP",
    "AS number of the cluster's nodes; 0 stands for 64512",
    {
      check: (asn) =>
        asn === 0 || isPrivateAsn(asn)
          ? undefined
          : "a private AS number: 64512 to 65535 or 4200000000 to 4294967294",
    },
  ),
  "router-id": flag(
    text,
    "",
    "BGP",
    'BGP identifier as an IPv4 address, or "generate"; by default the node\'s IPv4 address',
    {
      check: (value) =>
        value === "" || value === "generate" || /^[0-9.]+$/.test(value) && isIpv4(value)
          ? undefined
          : 'an IPv4 address or "generate"',
    },
  ),
  "bgp-port": flag(uint(1, 65535, "uint32"), 179, "BGP", "TCP port of BGP between nodes"),
  "bgp-max-prefixes": flag(
    uint(0, 16_000_000, "uint32"),
    0,
    "routelet",
    "Prefixes that a BGP peer may announce, in each family: a session with more is ended (Cease/1) and rests for five " +
      "minutes; 0: no limit",
  ),
  "bgp-holdtime": flag(
    duration,
    90 * SECOND,
    "BGP",
    "Hold time offered to peers",
    {
      check: (ms) =>
        ms >= 3 * SECOND && ms <= 65536 * SECOND ? undefined : "a duration from 3s to 18h12m16s",
    },
  ),
  "bgp-graceful-restart": flag(
    bool,
    false,
    "BGP",
    "Offer graceful restart, so that peers keep our routes over a restart",
  ),
  "bgp-graceful-restart-time": flag(
    duration,
    90 * SECOND,
    "BGP",
    "Time for which peers keep our routes after a session is lost",
  ),
  "bgp-graceful-restart-deferral-time": flag(
    duration,
    6 * MINUTE,
    "BGP",
    "Longest wait for peers' routes after a restart",
  ),
  "nodes-full-mesh": flag(
    bool,
    true,
    "BGP",
    "Peer with every node; otherwise only with nodes of the same AS number annotation",
  ),
  "enable-ibgp": flag(bool, true, "BGP", "Peer with other nodes of the same AS number"),
  "override-nexthop": flag(
    bool,
    false,
    "BGP",
    "Announce the session's local address as the next hop to external peers",
  ),
  "advertise-cluster-ip": flag(bool, false, "BGP", "Announce cluster IPs"),
  "advertise-external-ip": flag(bool, false, "BGP", "Announce external IPs"),
  "advertise-loadbalancer-ip": flag(
    bool,
    false,
    "BGP",
    "Announce the load balancer IPs in services' status",
  ),
  "advertise-pod-cidr": flag(
    bool,
    true,
    "BGP",
    "Announce the node's pod CIDRs to external peers",
  ),
  "gobgp-admin-address": flag(
    text,
    "127.0.0.1",
    "BGP",
    "Accepted for old command lines and ignored",
    { replacement: "the speaker has no admin port; a local socket serves it" },
  ),
  "gobgp-admin-port": flag(
    uint(0, 65535, "uint16"),
    50051,
    "BGP",
    "Accepted for old command lines and ignored",
    { replacement: "the speaker has no admin port; a local socket serves it" },
  ),

  // BGP peers
  "peer-router-ips": flag(
    ips,
    NO_PATHS,
    "BGP peers",
    "Addresses of routers that every node peers with",
  ),
  "peer-router-asns": flag(
    uints(0, 4294967295),
    NO_NUMBERS,
    "BGP peers",
    "AS numbers of those routers, one each",
    {
      check: (asns) => {
        const bad = asns.find((asn) => !isPeerAsn(asn));
        return bad === undefined ? undefined : `AS numbers that are not reserved (${bad} is)`;
      },
    },
  ),
  "peer-router-ports": flag(
    uints(1, 65535),
    NO_NUMBERS,
    "BGP peers",
    "TCP ports of those routers: none, or one each (default 179)",
  ),
  "peer-router-multihop-ttl": flag(
    uint(0, 255, "uint8"),
    0,
    "BGP peers",
    "TTL of sessions to those routers; from 2 on they may be several hops away",
  ),
  "peer-router-passwords": flag(
    passwords,
    NO_PATHS,
    "BGP peers",
    "TCP MD5 passwords of those routers in base64: none, or one each (an empty item is no password)",
    { secret: true },
  ),
  "peer-router-passwords-file": flag(
    text,
    "",
    "BGP peers",
    "File that holds the value of --peer-router-passwords, which goes before it",
  ),
  "enable-bfd": flag(bool, false, "BGP peers", "Watch those routers with BFD"),
  "bfd-port": flag(uint(1, 65535, "uint32"), 3784, "BGP peers", "UDP port of BFD"),
  "bfd-detection-multiplier": flag(
    uint(1, 255, "uint32"),
    3,
    "BGP peers",
    "Lost BFD packets after which a router counts as down",
  ),
  "bfd-desired-min-tx-interval": flag(
    uint(1, 4294967, "uint32"),
    1000,
    "BGP peers",
    "Wanted pause between sent BFD packets, in milliseconds",
  ),
  "bfd-required-min-rx-interval": flag(
    uint(1, 4294967, "uint32"),
    1000,
    "BGP peers",
    "Shortest pause between received BFD packets, in milliseconds",
  ),
};

function isIpv4(value: string): boolean {
  return ips.parse(value, undefined).length === 1;
}

function isPrivateAsn(asn: number): boolean {
  return asn >= 64512 && asn <= 65535 || asn >= 4200000000 && asn <= 4294967294;
}

/** RFC 7607 (0), RFC 4893 (23456), RFC 5398 (documentation), RFC 7300 (last ones) and IANA's reserve. */
function isPeerAsn(asn: number): boolean {
  return asn >= 1 && asn <= 23455 || asn >= 23457 && asn <= 63999 || asn >= 64512 && asn <= 65534 ||
    asn >= 131072 && asn <= 4294967294;
}
