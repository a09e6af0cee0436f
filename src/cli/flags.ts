/**
 * The table of all flags: help, parsing, the reference page and validation come from it, and so does the type
 * `Flags`. Past 400 lines because it is one table of data.
 *
 * Names, types and defaults are kube-router's (v2.11), so that a cluster moves by changing an image; ours are in
 * the sections "routelet" and "Output". Values: durations in milliseconds, addresses and CIDRs canonical.
 */
import { resolve } from "node:path";
import {
  bool,
  choice,
  cidrs,
  duration,
  int32,
  ips,
  type Kind,
  passwords,
  type PluginOptions,
  pluginOptions,
  type PortRange,
  portRange,
  text,
  uint,
  uints,
} from "./flag-kinds.ts";

import { parseUiAddress } from "./ui/address.ts";

/** The groups of the help text and of the reference page, in their order. */
export const SECTIONS = [
  "Functions",
  "routelet",
  "Kubernetes API",
  "Service proxy",
  "Pod networking",
  "BGP",
  "BGP peers",
  "Firewall",
  "Load balancer",
  "Health and metrics",
  "Installation",
  "Output",
] as const;
export type Section = typeof SECTIONS[number];

/** One flag. */
export interface FlagSpec<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  readonly section: Section;
  /** What it does, as a phrase without a full stop. */
  readonly usage: string;
  /** Whether this version acts on it; if not it parses, validates and is named in one warning at start. */
  readonly served: boolean;
  /** Set for flags that are not served: whether a value says what happens anyway, so that nobody is warned. */
  readonly holds?: (value: T) => boolean;
  /** What to warn of where it is given and on: what others mean by it and we do not do. */
  readonly warning?: string;
  /** One letter that stands for it. */
  readonly short?: string;
  /** Set for flags that are accepted and do nothing: what serves their purpose now. */
  readonly replacement?: string;
  /** The value is a secret and never leaves the program. */
  readonly secret?: boolean;
  /** Says why a value of the right kind is still wrong, as what is allowed instead. */
  readonly check?: (value: T) => string | undefined;
}

type Extra<T> = Partial<Omit<FlagSpec<T>, "kind" | "default" | "section" | "usage">>;

function flag<T>(
  kind: Kind<T>,
  fallback: NoInfer<T>,
  section: Section,
  usage: string,
  extra: Extra<NoInfer<T>> = {},
): FlagSpec<T> {
  return { kind, default: fallback, section, usage, served: true, ...extra };
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const LATER = { served: false } as const;
const NO_PATHS: readonly string[] = [];
const NO_NUMBERS: readonly number[] = [];

const positive = {
  check: (ms: number) => ms > 0 ? undefined : "a duration above 0",
};
const notNegative = {
  check: (ms: number) => ms >= 0 ? undefined : "a duration of 0 or more",
};
const host = {
  check: (value: string) =>
    /^(?:|\[[0-9a-fA-F:.]+\]|[^\s\[\]/]+)$/.test(value)
      ? undefined
      : "an address without port, or nothing for all addresses",
};

const TABLE = {
  // Functions
  "run-service-proxy": flag(bool, true, "Functions", "Run the service proxy (IPVS)"),
  "run-router": flag(bool, true, "Functions", "Run the router (pod networking and BGP)"),
  "run-firewall": flag(bool, true, "Functions", "Run the firewall (NetworkPolicy)"),
  "run-loadbalancer": flag(
    bool,
    false,
    "Functions",
    "Run the allocator of LoadBalancer addresses",
  ),
  "cleanup-config": flag(
    bool,
    false,
    "Functions",
    "Remove everything of ours from this node's Linux, then exit; as the command cleanup",
  ),
  "enable-ipv4": flag(bool, true, "Functions", "Serve IPv4"),
  "enable-ipv6": flag(bool, false, "Functions", "Serve IPv6"),
  "help": flag(bool, false, "Functions", "Print the help text and exit", { short: "h" }),
  "version": flag(bool, false, "Functions", "Print the version and exit", { short: "V" }),

  // routelet
  "runtime-dir": flag(
    text,
    "/run/routelet",
    "routelet",
    "Folder of the agent's socket and of the ledger of what it owns in Linux",
    {
      check: (value) => value.startsWith("/") ? undefined : "an absolute path",
    },
  ),
  "vip-binding": flag(
    choice("auto", "address", "route"),
    "auto",
    "routelet",
    "How VIPs become local: an address each on kube-dummy-if, or one local route for a whole service range; auto picks by their number",
  ),
  "advertise-service-ranges": flag(
    bool,
    false,
    "routelet",
    "Announce one route for each service range whose addresses are announced, and single addresses only where nodes differ: " +
      "those of the traffic policy Local; what a service keeps to itself is left out of the range",
  ),
  "netfilter": flag(
    choice("auto", "iptables", "nftables"),
    "auto",
    "routelet",
    "Backend for packet rules; auto takes iptables where iptables-restore is on the host, else nftables",
  ),
  "plugins-dir": flag(
    text,
    "/etc/routelet/plugins.d",
    "routelet",
    "Folder of third-party plugins, besides plugins.d beside the executable; files must belong to root and be writable by root alone; empty for none",
    {
      check: (value) =>
        value === "" || value.startsWith("/") ? undefined : "an absolute path, or nothing for none",
    },
  ),
  "plugin": flag(
    pluginOptions,
    {},
    "routelet",
    "Option of a plugin, for example hostport.range=1-1024, or the name alone of one that ships beside the executable and is to run; repeat for more",
  ),

  // Kubernetes API
  "kubeconfig": flag(
    text,
    "",
    "Kubernetes API",
    "Path of a kubeconfig with server and credentials",
  ),
  "master": flag(
    text,
    "",
    "Kubernetes API",
    "URL of the API server; goes before the server that the kubeconfig names",
    {
      check: (value) =>
        value === "" || isHttpUrl(value) ? undefined : 'a URL such as "https://10.0.0.1:6443"',
    },
  ),
  "manifests": flag(
    text,
    "",
    "Kubernetes API",
    "Folder of YAML that is read and watched in place of an API server",
  ),
  "hostname-override": flag(
    text,
    "",
    "Kubernetes API",
    "Name of this node; goes before the environment's NODE_NAME and the host name",
  ),
  "cache-sync-timeout": flag(
    duration,
    MINUTE,
    "Kubernetes API",
    "How long to wait at start for the first full lists of the API server",
    positive,
  ),
  "config-sync-period": flag(
    duration,
    MINUTE,
    "Kubernetes API",
    "Accepted for old command lines and ignored",
    {
      replacement:
        "objects are watched; periodic syncs follow --ipvs-sync-period, --iptables-sync-period and --routes-sync-period",
    },
  ),

  // Service proxy
  "ipvs-sync-period": flag(
    duration,
    5 * MINUTE,
    "Service proxy",
    "Pause between full comparisons of IPVS with what it should be",
    positive,
  ),
  "ipvs-graceful-termination": flag(
    bool,
    false,
    "Service proxy",
    "Let connections to an endpoint that is going away finish (weight 0) before it is removed",
  ),
  "ipvs-graceful-period": flag(
    duration,
    30 * SECOND,
    "Service proxy",
    "How long such an endpoint is kept when its pod names no period",
    notNegative,
  ),
  "ipvs-permit-all": flag(
    bool,
    true,
    "Service proxy",
    "Accept traffic to services before the node's own firewall rules judge it, and reject what else goes to their addresses",
  ),
  "masquerade-all": flag(
    bool,
    false,
    "Service proxy",
    "Give all traffic to services the node's address as its source",
  ),
  "hairpin-mode": flag(
    bool,
    false,
    "Service proxy",
    "Let pods reach themselves by the service that they serve, for every service",
  ),
  "nodeport-bindon-all-ip": flag(
    bool,
    false,
    "Service proxy",
    "Serve node ports on every address of the node and not only on its main one",
  ),
  "excluded-cidrs": flag(
    cidrs,
    NO_PATHS,
    "Service proxy",
    "Addresses that are left to others: services on them are neither served nor touched",
  ),
  "service-cluster-ip-range": flag(
    cidrs,
    ["10.96.0.0/12"],
    "Service proxy",
    "Ranges of cluster IPs, one a family",
  ),
  "service-external-ip-range": flag(
    cidrs,
    NO_PATHS,
    "Service proxy",
    "Ranges from which services may take external IPs",
  ),
  "service-node-port-range": flag(
    portRange,
    { from: 30000, to: 32767 },
    "Service proxy",
    "Range of node ports, which the firewall admits; the proxy serves any",
  ),
  "strict-external-ip-validation": flag(
    bool,
    true,
    "Service proxy",
    "Ignore external and load balancer IPs outside of their ranges, and all of them where no range is given",
  ),
  "service-tcp-timeout": flag(
    duration,
    0,
    "Service proxy",
    "IPVS timeout of established TCP connections; 0s leaves Linux's value alone",
    notNegative,
  ),
  "service-tcpfin-timeout": flag(
    duration,
    0,
    "Service proxy",
    "IPVS timeout of TCP connections after a FIN; 0s leaves Linux's value alone",
    notNegative,
  ),
  "service-udp-timeout": flag(
    duration,
    0,
    "Service proxy",
    "IPVS timeout of UDP flows; 0s leaves Linux's value alone",
    notNegative,
  ),
  "runtime-endpoint": flag(
    text,
    "",
    "Service proxy",
    "Socket of the container runtime (CRI) that is asked for pods' network namespaces, for direct server return; " +
      "without it they are found by their addresses",
    {
      check: (value) =>
        value === "" || /^unix:\/\/\/./.test(value)
          ? undefined
          : 'a socket such as "unix:///run/containerd/containerd.sock"',
    },
  ),

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

  // Firewall
  "iptables-sync-period": flag(
    duration,
    5 * MINUTE,
    "Firewall",
    "Pause between full comparisons of the firewall's rules, in either backend",
    positive,
  ),
  "netpol-default-deny": flag(
    bool,
    false,
    "Firewall",
    "Refuse a pod's traffic until its policies are in Linux",
  ),
  "netpol-keep-established": flag(
    bool,
    false,
    "Firewall",
    "Let connections go on that were established before a policy denied them",
  ),
  "use-nftables-for-netpol": flag(
    bool,
    false,
    "Firewall",
    "As --netfilter=nftables, in kube-router's words; for the rules of all plugins",
  ),

  // Load balancer
  "loadbalancer-ip-range": flag(
    cidrs,
    NO_PATHS,
    "Load balancer",
    "Ranges from which load balancer IPs come, with --run-loadbalancer or from another allocator; services may take no others",
  ),
  "loadbalancer-default-class": flag(
    bool,
    true,
    "Load balancer",
    "Allocate for services without a load balancer class too",
  ),
  "loadbalancer-sync-period": flag(
    duration,
    MINUTE,
    "Load balancer",
    "Pause between checks for services without an address",
    positive,
  ),

  // Health and metrics
  "health-addr": flag(
    text,
    "",
    "Health and metrics",
    "Address of the health server; nothing for all addresses",
    host,
  ),
  "health-port": flag(
    uint(0, 65535, "uint16"),
    20244,
    "Health and metrics",
    "Port of the health server (/healthz, /livez, /readyz, /status); 0 turns it off",
  ),
  "metrics-addr": flag(
    text,
    "",
    "Health and metrics",
    "Address of the metrics server; nothing for all addresses",
    host,
  ),
  "metrics-port": flag(
    uint(0, 65535, "uint16"),
    0,
    "Health and metrics",
    "Port of the metrics server; 0 and 65535 turn it off",
  ),
  "metrics-path": flag(
    text,
    "/metrics",
    "Health and metrics",
    "Path of the metrics",
    { check: (value) => /^\/[^\s?#]*$/.test(value) ? undefined : 'a path such as "/metrics"' },
  ),
  "enable-pprof": flag(
    bool,
    false,
    "Health and metrics",
    "Serve profiles of the running agent",
    LATER,
  ),

  // Installation
  "root": flag(
    text,
    "/",
    "Installation",
    "Folder that install and uninstall take for the root of the file system; with another than / they touch files alone",
    {
      check: (value) =>
        // Under another name "/" would count as an image, and its agent would go on.
        value.startsWith("/") && (value === "/" || resolve(value) !== "/")
          ? undefined
          : "an absolute path",
    },
  ),
  "dry-run": flag(
    bool,
    false,
    "Installation",
    "Print what install or uninstall would do, and do nothing",
  ),
  "verify": flag(
    bool,
    false,
    "Installation",
    "After cleanup or uninstall, look at all of Linux again and print what was looked at and what is left",
  ),
  "from": flag(
    text,
    "",
    "routelet",
    "Program that the command migrate takes over from: kube-proxy or kube-router",
    {
      check: (value) =>
        ["", "kube-proxy", "kube-router"].includes(value) ? undefined : "kube-proxy or kube-router",
    },
  ),
  "yes": flag(bool, false, "routelet", "Has the command migrate do what it shows"),

  "ui-addr": flag(
    text,
    "",
    "Health and metrics",
    'Where the live page is served, "PORT" on loopback or "ADDRESS:PORT"; nothing for no page. It has no log-in',
    {
      check: (value) =>
        value === "" || parseUiAddress(value) !== undefined
          ? undefined
          : '"20245" or "127.0.0.1:20245"',
    },
  ),

  // Output
  "v": flag(int32, 0, "Output", "Log level: 0 info, 1 and above debug", { short: "v" }),
  "log-format": flag(choice("text", "json"), "text", "Output", "Form of the log on standard error"),
  "output": flag(
    choice("text", "json"),
    "text",
    "Output",
    "Form of what the commands print",
  ),
  "watch": flag(
    bool,
    false,
    "Output",
    "Has the commands status and ipvs print their answer every two seconds until they are stopped",
  ),
};

/** A flag's name as it is typed, without the dashes. */
export type FlagName = keyof typeof TABLE;

/** Every flag by its name, in the order of the reference page within each section. */
export const FLAGS: Readonly<Record<FlagName, FlagSpec<unknown>>> = TABLE as unknown as Record<
  FlagName,
  FlagSpec<unknown>
>;

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;
type ValueOf<S> = S extends FlagSpec<infer T> ? T : never;

/** The value of every flag under its camelCase name (`flags.ipvsSyncPeriod`), checked. */
export type FlagValues = {
  readonly [N in FlagName as Camel<N>]: ValueOf<(typeof TABLE)[N]>;
};

/** What the command line said. Durations are milliseconds, addresses and CIDRs canonical. */
export interface Flags extends FlagValues {
  /** The flags that were given, each once, in the order of the command line. */
  readonly given: readonly FlagName[];
}

export type { PluginOptions, PortRange };

/** `ipvs-sync-period` → `ipvsSyncPeriod`. */
export function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The names of all flags. */
export const FLAG_NAMES: readonly FlagName[] = Object.keys(TABLE) as FlagName[];

/** Every flag at its default, for tests and for callers that set a few. */
export function defaultFlags(set: Partial<Flags> = {}): Flags {
  const values = Object.fromEntries(
    FLAG_NAMES.map((name) => [camelCase(name), FLAGS[name].default]),
  );
  return { ...values, given: [], ...set } as unknown as Flags;
}

function isHttpUrl(value: string): boolean {
  return /^https?:\/\/[^\s/]/.test(value) && URL.canParse(value);
}

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

export { HOUR, MINUTE, SECOND };
