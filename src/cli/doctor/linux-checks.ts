/** Checks of this host's Linux. Pure. */

import { POD_BRIDGE } from "../../kernel/pod-bridge.ts";
import type { Flags } from "../flags.ts";
import { fail, type Finding, ok, skip, warn } from "./findings.ts";
import type { DoctorHost } from "./host.ts";

/** A module, what shows that it is there, and who needs it. */
interface Needed {
  readonly module: string;
  /** A path that is there once it is loaded or built in; absent: /sys/module/<module>. */
  readonly shows?: string;
  readonly by: string;
}

export interface Runs {
  readonly proxy: boolean;
  readonly router: boolean;
  readonly firewall: boolean;
  readonly netfilter: "iptables" | "nftables";
}

export function linuxFindings(host: DoctorHost, flags: Flags, runs: Runs): readonly Finding[] {
  return [
    host.isRoot
      ? ok("root", "runs as root")
      : fail("root", "does not run as root: most of this host cannot be read", "use sudo"),
    ...moduleFindings(host, flags, runs),
    backendFinding(host, runs),
    ...sysctlFindings(host, flags, runs),
    conntrackFinding(host),
    ...mtuFindings(host, flags, runs),
    ...clockFindings(host),
  ];
}

function moduleFindings(host: DoctorHost, flags: Flags, runs: Runs): readonly Finding[] {
  const needed: readonly Needed[] = [
    ...(runs.proxy
      ? [
        { module: "ip_vs", shows: "/proc/sys/net/ipv4/vs", by: "the service proxy" },
        { module: "dummy", by: "the service proxy" },
      ]
      : []),
    ...(runs.proxy || runs.firewall
      ? [{
        module: "br_netfilter",
        shows: "/proc/sys/net/bridge",
        by: "pods on one bridge that call Services, and policies between them",
      }]
      : []),
    ...(runs.proxy || runs.firewall || runs.router
      ? [
        {
          module: "nf_conntrack",
          shows: "/proc/sys/net/netfilter/nf_conntrack_max",
          by: "all plugins",
        },
        runs.netfilter === "iptables"
          ? { module: "ip_set", by: "the iptables backend" }
          : { module: "nf_tables", by: "the nftables backend" },
      ]
      : []),
    ...(runs.router && flags.enableOverlay
      ? [{ module: flags.overlayEncap === "fou" ? "fou" : "ipip", by: "tunnels between subnets" }]
      : []),
  ];
  const built = host.read(`/lib/modules/${host.release}/modules.builtin`) ?? "";
  const files = host.read(`/lib/modules/${host.release}/modules.dep`) ?? "";
  const has = (text: string, module: string) =>
    new RegExp(`/${module.replaceAll(/[_-]/g, "[_-]")}\\.ko`).test(text);
  const mayLoad = ["/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe"].some(host.exists);
  return needed.map(({ module, shows = `/sys/module/${module}`, by }): Finding => {
    const id = `kernel/${module}`;
    if (host.exists(shows) || has(built, module)) return ok(id, `${module} is there`);
    // Without modules at all a kernel has it built in or not; not everything shows which.
    if (!host.exists("/proc/modules") && shows.startsWith("/sys/module/")) {
      return ok(
        id,
        `${module} is built in or missing: this Linux has no modules, and does not tell`,
      );
    }
    if (has(files, module)) {
      return mayLoad ? ok(id, `${module} can be loaded, and is when it is needed`) : warn(
        id,
        `${module} is not loaded, and there is no modprobe here; ${by} needs it`,
        `modprobe ${module} on the host, and name it in /etc/modules-load.d/routelet.conf`,
      );
    }
    return fail(
      id,
      `${module} is not loaded, and Linux ${host.release} has no such module here; ${by} needs it`,
      `modprobe ${module} on the host (in a container mount /lib/modules), or install the package with more modules ` +
        "of this kernel",
    );
  });
}

function backendFinding(host: DoctorHost, { netfilter }: Runs): Finding {
  const id = "netfilter";
  if (netfilter === "nftables") return ok(id, "packet rules go to nf_tables, without host tools");
  if (host.iptables === undefined) {
    return fail(
      id,
      "iptables is chosen, and there is no iptables here",
      "install the package iptables, or take --netfilter=nftables",
    );
  }
  const variant = host.iptables === "" ? "iptables" : `iptables-${host.iptables}`;
  return ok(id, `packet rules go to ${variant}`);
}

/** Wanted by us, whichever agent runs: others that set them again and again are found by the log's "Repaired Linux". */
function sysctlFindings(host: DoctorHost, flags: Flags, runs: Runs): readonly Finding[] {
  const value = (path: string) => host.read(`/proc/sys/${path}`)?.trim();
  const findings: Finding[] = [];
  const strict = ["all", "default"].some((name) =>
    value(`net/ipv4/conf/${name}/rp_filter`) === "1"
  );
  if (strict && runs.router && flags.enableOverlay) {
    findings.push(warn(
      "sysctl/rp_filter",
      "reverse paths are checked strictly (rp_filter=1): what comes by another way than its answer goes is dropped, as " +
        "with tunnels between subnets",
      "sysctl -w net.ipv4.conf.all.rp_filter=2, and write it to /etc/sysctl.d",
    ));
  } else {findings.push(
      ok("sysctl/rp_filter", "reverse paths are not checked strictly, or nothing here minds"),
    );}
  const files = [
    "/etc/sysctl.conf",
    ...host.list("/etc/sysctl.d").map((name) => `/etc/sysctl.d/${name}`),
  ];
  const wanted: readonly (readonly [string, string])[] = [
    ...(runs.proxy || runs.router ? [["net.ipv4.ip_forward", "0"] as const] : []),
    ...(runs.proxy || runs.firewall ? [["net.bridge.bridge-nf-call-iptables", "0"] as const] : []),
    ...(runs.proxy ? [["net.ipv4.vs.conntrack", "0"] as const] : []),
  ];
  const against = files.flatMap((file) =>
    (host.read(file) ?? "").split("\n").flatMap((line) => {
      const [, name = "", set = ""] = /^\s*-?\s*([\w./-]+)\s*=\s*(\S+)/.exec(line) ?? [];
      const dotted = name.replaceAll("/", ".");
      return wanted.some(([own, bad]) => own === dotted && bad === set)
        ? [`${dotted} = ${set} in ${file}`]
        : [];
    })
  );
  findings.push(
    against.length === 0
      ? ok("sysctl/files", "no file of sysctl sets what the agent needs otherwise")
      : warn(
        "sysctl/files",
        `${
          against.join(", ")
        }: the agent sets it back, and each "sysctl --system" undoes that for a moment`,
        "take these lines out",
      ),
  );
  return findings;
}

/** Share of the table above which new connections may soon be dropped. */
const FULL = 0.8;

function conntrackFinding(host: DoctorHost): Finding {
  const number = (name: string) => Number(host.read(`/proc/sys/net/netfilter/${name}`) ?? NaN);
  const [count, max] = [number("nf_conntrack_count"), number("nf_conntrack_max")];
  const id = "conntrack";
  if (!Number.isFinite(count) || !Number.isFinite(max)) {
    return skip(id, "conntrack is not loaded yet");
  }
  if (count < FULL * max) return ok(id, `${count} of ${max} connections are tracked`);
  return warn(
    id,
    `${count} of ${max} connections are tracked: when it is full, new ones are dropped`,
    `sysctl -w net.netfilter.nf_conntrack_max=${2 * max}, and write it to /etc/sysctl.d`,
  );
}

/** The header of an IPIP tunnel; GUE adds UDP's and its own. */
const TUNNEL_BYTES = { ipip: 20, fou: 36 } as const;

function mtuFindings(host: DoctorHost, flags: Flags, runs: Runs): readonly Finding[] {
  const id = "mtu";
  const bridge = host.links.find(({ name }) => name === POD_BRIDGE);
  const uplinks = host.links.filter(({ name, type, up }) =>
    up && name !== "lo" && (type === "" || ["bond", "vlan", "team", "veth"].includes(type)) &&
    host.addresses.some(({ link, address }) => link === name && !address.startsWith("fe80:"))
  );
  if (bridge === undefined || uplinks.length === 0) {
    return [skip(id, `there is no ${POD_BRIDGE} yet to compare`)];
  }
  const least = Math.min(...uplinks.map(({ mtu }) => mtu));
  const tunnels = runs.router && flags.enableOverlay &&
    host.links.some(({ name }) => /^tun-[0-9a-f]+$/.test(name));
  const room = least - (tunnels ? TUNNEL_BYTES[flags.overlayEncap === "fou" ? "fou" : "ipip"] : 0);
  const over = tunnels ? " less the tunnel's header" : "";
  if (bridge.mtu <= room) {
    return [ok(id, `${POD_BRIDGE} has ${bridge.mtu} bytes, the uplink ${least}${over}`)];
  }
  return [warn(
    id,
    `${POD_BRIDGE} has ${bridge.mtu} bytes, more than the uplink's ${least}${over}: large packets are cut or lost`,
    `leave --auto-mtu on, or set "mtu": ${room} in the CNI configuration, and make the pods anew`,
  )];
}

/** Without a source of time certificates and leases fail one day. */
function clockFindings(host: DoctorHost): readonly Finding[] {
  const id = "clock/sync";
  if (host.exists("/run/systemd/timesync/synchronized")) {
    return [ok(id, "systemd-timesyncd keeps the clock")];
  }
  const keepers = ["chronyd", "ntpd", "ntpd-ng", "openntpd", "systemd-timesyn", "ptp4l", "phc2sys"];
  const keeper = host.processes.find(({ name }) => keepers.includes(name));
  return [
    keeper !== undefined ? ok(id, `${keeper.name} keeps the clock`) : warn(
      id,
      "nothing here seems to keep the clock",
      "install chrony, or let the hypervisor keep it",
    ),
  ];
}
