/** What flags must be to each other; each problem is one line that names the flags, the values and what is allowed. */
import { contains, parseCidr } from "../kernel/ip.ts";
import { camelCase, type FlagName, FLAGS, type Flags, HOUR, SECOND } from "./flags.ts";
import { showGoDuration } from "./flag-kinds.ts";

/** The problems of a set of flags that are each valid alone; none when the list is empty. */
export function crossCheck(flags: Flags): readonly string[] {
  return [
    ...families(flags),
    ...clusterRanges(flags),
    ...sources(flags),
    ...gracefulRestart(flags),
    ...peers(flags),
    ...netfilter(flags),
    ...loadbalancer(flags),
  ];
}

function families(flags: Flags): string[] {
  if (!flags.enableIpv4 && !flags.enableIpv6) {
    return [
      "Flags --enable-ipv4 and --enable-ipv6 cannot both be false: nothing would be served",
    ];
  }
  const ranges: readonly [FlagName, readonly string[]][] = [
    ["service-external-ip-range", flags.serviceExternalIpRange],
    ["loadbalancer-ip-range", flags.loadbalancerIpRange],
    ["service-cluster-ip-range", flags.serviceClusterIpRange],
  ];
  const problems: string[] = [];
  for (const [name, values] of ranges) {
    for (const value of values) {
      const family = parseCidr(value)?.family === 6 ? 6 : 4;
      if (family === 6 ? flags.enableIpv6 : flags.enableIpv4) continue;
      const remedy = flags.given.includes(name)
        ? ""
        : `; give --${name} with IPv${10 - family} ranges`;
      problems.push(
        `Flag --${name} cannot hold the IPv${family} CIDR "${value}" while --enable-ipv${family}=false${remedy}`,
      );
    }
  }
  return problems;
}

function clusterRanges(flags: Flags): string[] {
  const ranges = flags.serviceClusterIpRange;
  const given = ranges.join(",");
  if (ranges.length === 0) {
    return ["Flag --service-cluster-ip-range cannot be empty: allowed are one or two CIDRs"];
  }
  if (ranges.length > 2) {
    return [
      `Flag --service-cluster-ip-range cannot be "${given}": allowed are one or two CIDRs, one a family`,
    ];
  }
  const kinds = ranges.map((range) => parseCidr(range)?.family);
  if (ranges.length === 2 && kinds[0] === kinds[1]) {
    return [
      `Flag --service-cluster-ip-range cannot be "${given}": two CIDRs must be one IPv4 and one IPv6`,
    ];
  }
  return [];
}

function sources(flags: Flags): string[] {
  if (flags.manifests === "") return [];
  const other = flags.kubeconfig !== "" ? "--kubeconfig" : flags.master !== "" ? "--master" : "";
  return other === "" ? [] : [
    `Flags --manifests and ${other} cannot be used together: objects come from a folder or from an API server`,
  ];
}

function gracefulRestart(flags: Flags): string[] {
  if (!flags.bgpGracefulRestart) return [];
  const limits: readonly [FlagName, number, number][] = [
    // RFC 4724: the restart time has 12 bits, in seconds.
    ["bgp-graceful-restart-time", flags.bgpGracefulRestartTime, 4095 * SECOND],
    ["bgp-graceful-restart-deferral-time", flags.bgpGracefulRestartDeferralTime, 18 * HOUR],
  ];
  return limits.filter(([, ms, most]) => ms <= 0 || ms > most).map(([name, ms, most]) =>
    `Flag --${name} cannot be "${showGoDuration(ms)}": allowed is a duration above 0 up to ${
      showGoDuration(most)
    }`
  );
}

function peers(flags: Flags): string[] {
  const count = flags.peerRouterIps.length;
  const problems: string[] = [];
  if (flags.peerRouterAsns.length !== count) {
    problems.push(
      `Flag --peer-router-asns has ${flags.peerRouterAsns.length} values for ${count} in --peer-router-ips: allowed is one each`,
    );
  }
  const optional: readonly [FlagName, readonly unknown[]][] = [
    ["peer-router-ports", flags.peerRouterPorts],
    ["peer-router-passwords", flags.peerRouterPasswords],
  ];
  for (const [name, values] of optional) {
    if (values.length === 0 || values.length === count) continue;
    problems.push(
      `Flag --${name} has ${values.length} values for ${count} in --peer-router-ips: allowed is none or one each`,
    );
  }
  const twice = flags.peerRouterIps.find((ip, at) => flags.peerRouterIps.indexOf(ip) !== at);
  if (twice !== undefined) {
    problems.push(`Flag --peer-router-ips cannot name "${twice}" twice`);
  }
  return problems;
}

function netfilter(flags: Flags): string[] {
  return flags.useNftablesForNetpol && flags.netfilter === "iptables"
    ? [
      "Flags --netfilter=iptables and --use-nftables-for-netpol contradict each other: give one of them",
    ]
    : [];
}

function loadbalancer(flags: Flags): string[] {
  if (!flags.runLoadbalancer) return [];
  if (flags.manifests !== "") {
    return [
      "Flags --run-loadbalancer and --manifests cannot be used together: addresses are written to an API server",
    ];
  }
  // The proxy serves no load balancer IP in them, whoever gave it.
  return flags.loadbalancerIpRange.flatMap((range) => {
    const cluster = flags.serviceClusterIpRange.find((other) =>
      contains(other, range.split("/")[0] ?? "") || contains(range, other.split("/")[0] ?? "")
    );
    return cluster === undefined ? [] : [
      `Flag --loadbalancer-ip-range cannot hold "${range}" with --run-loadbalancer: it overlaps the cluster IPs of ` +
      `--service-cluster-ip-range "${cluster}"; give another range`,
    ];
  });
}

/**
 * What to warn of at start: a line for each flag that does nothing any more, with its replacement, or less than with others, and
 * one of flags that were given and are not served. A switch turned off is served: nothing runs.
 */
export function startWarnings(flags: Flags): readonly string[] {
  const values = flags as unknown as Readonly<Record<string, unknown>>;
  const ignored = flags.given.flatMap((name) => {
    const { replacement } = FLAGS[name];
    return replacement === undefined ? [] : [`Flag --${name} is ignored: ${replacement}`];
  });
  const limited = flags.given.flatMap((name) => {
    const { warning } = FLAGS[name];
    return warning === undefined || values[camelCase(name)] === false
      ? []
      : [`Flag --${name} does not do all of it: ${warning}`];
  });
  const wanted = (name: FlagName): boolean => {
    const { served, replacement, holds } = FLAGS[name];
    const value = values[camelCase(name)];
    return !served && replacement === undefined && value !== false && holds?.(value) !== true;
  };
  const others = flags.given.filter(wanted);
  const list = others.length === 0
    ? []
    : [`Flags without effect in this version: ${others.map((name) => `--${name}`).join(", ")}`];
  const empty = flags.runLoadbalancer && flags.loadbalancerIpRange.length === 0
    ? [
      "Flag --run-loadbalancer gives no Service an address without --loadbalancer-ip-range; give it ranges",
    ]
    : [];
  return [...ignored, ...limited, ...empty, ...list];
}

/** The flags that were given with their values as text, secrets hidden: for the log and the status. */
export function describeGiven(flags: Flags): Readonly<Record<string, string>> {
  const values = flags as unknown as Readonly<Record<string, unknown>>;
  return Object.fromEntries(flags.given.map((name) => {
    const spec = FLAGS[name];
    const value = values[camelCase(name)];
    return [name, spec.secret === true ? "***" : hideUserInfo(spec.kind.show(value))];
  }));
}

/** A URL may carry a password: `https://user:password@host`. */
export function hideUserInfo(text: string): string {
  return text.replace(/\/\/[^/@\s]*@/g, "//***@");
}
