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
  type PluginOptions,
  pluginOptions,
  type PortRange,
  portRange,
  text,
  uint,
} from "./flag-kinds.ts";
import {
  flag,
  type FlagSpec,
  host,
  LATER,
  MINUTE,
  NO_PATHS,
  notNegative,
  positive,
  SECOND,
} from "./flag-spec.ts";
import { ROUTER_FLAGS } from "./flags-router.ts";
import { parseUiAddress } from "./ui/address.ts";

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

  ...ROUTER_FLAGS,

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

export { type FlagSpec, HOUR, MINUTE, SECOND, type Section, SECTIONS } from "./flag-spec.ts";
