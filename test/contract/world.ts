/** The worlds that the contract runs over: the fake, and Linux in a fresh network namespace. */

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Dataplane } from "../../src/kernel/dataplane/dataplane.ts";
import { fakeDataplane } from "../../src/kernel/dataplane/fake.ts";
import { openLinux } from "../../src/kernel/dataplane/linux/mod.ts";
import { hand } from "./hand.ts";

/** Another tool's hand on Linux. */
export interface Hand {
  /** Adds an item that is nobody's. */
  add<T>(kind: string, item: T): void;
  /** Removes an item, whoever made it. */
  remove<T>(kind: string, item: T): void;
}

export interface World {
  readonly dataplane: Dataplane;
  readonly hand: Hand;
  /** Opens the same Linux once more, as a restarted agent does: nothing but Linux and the ledger is left. */
  reopen(): Dataplane;
  close(): Promise<void>;
}

/** Linux, with a shell. */
export interface LinuxWorld extends World {
  /** Runs a command in the namespace and gives what it printed. @throws when it fails */
  run(...argv: readonly string[]): string;
}

export interface WorldKind {
  readonly name: string;
  /** Link type that stands in for dummy where Linux has none. */
  readonly link: "dummy" | "bridge";
  /** What this machine lacks for a kind, or undefined. */
  lacks(kind: string): string | undefined;
  open(): World;
}

/** The node's own addresses in every world. */
export const NODE = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;

/** The addresses of a pod in every world. */
export const POD = { 4: "10.1.0.7", 6: "fd00:1::7" } as const;

const CNI_FOLDER = join(tmpdir(), `routelet-contract-cni-${process.pid}`);
/** CNI configurations of every world: one plugin, and (with "list" at its end on disk) a list of them. */
export const CNI = {
  conf: join(CNI_FOLDER, "10-one.conf"),
  list: join(CNI_FOLDER, "10-list.conf"),
} as const;

function writeCni(): void {
  const plugin = { type: "bridge", bridge: "kube-bridge", ipam: { type: "host-local" } };
  mkdirSync(CNI_FOLDER, { recursive: true });
  writeFileSync(CNI.conf, JSON.stringify({ name: "one", ...plugin }, null, 2));
  writeFileSync(`${CNI.list}list`, JSON.stringify({ name: "list", plugins: [plugin] }));
}

export const fakeWorld: WorldKind = {
  name: "the fake",
  link: "dummy",
  lacks: () => undefined,
  open() {
    const dataplane = fakeDataplane();
    const node = { name: "node0", type: "dummy", up: true } as const;
    dataplane.seed("link", node);
    return {
      dataplane,
      hand: {
        add: (kind, item) => dataplane.drift(kind, dataplane.keyOf(kind, item), item),
        remove: (kind, item) => dataplane.drift(kind, dataplane.keyOf(kind, item), undefined),
      },
      reopen: () => dataplane,
      close: () => dataplane.close(),
    };
  },
};

function run(...argv: readonly string[]): { readonly ok: boolean; readonly text: string } {
  try {
    const { exitCode, stdout, stderr } = Bun.spawnSync([...argv], { stdin: "ignore" });
    return { ok: exitCode === 0, text: `${stdout}${stderr}` };
  } catch (error) {
    return { ok: false, text: String(error) };
  }
}

let namespaces = 0;

function podOf(netns: string): string {
  return `${netns}-pod`;
}

function makeNamespace(link: string): string {
  const name = `routelet-${process.pid}-${++namespaces}`;
  const made = run("ip", "netns", "add", name);
  if (!made.ok) throw new Error(`Cannot make a network namespace: ${made.text}`);
  const ip = (...argv: readonly string[]) => run("ip", "-n", name, ...argv);
  ip("link", "set", "lo", "up");
  ip("link", "add", "node0", "type", link);
  ip("link", "set", "node0", "up");
  ip("addr", "add", `${NODE[4]}/24`, "dev", "node0");
  ip("-6", "addr", "add", `${NODE[6]}/64`, "dev", "node0", "nodad");
  const pod = podOf(name);
  run("ip", "netns", "add", pod);
  const inPod = (...argv: readonly string[]) => run("ip", "-n", pod, ...argv);
  inPod("link", "add", "eth0", "type", link);
  inPod("link", "set", "eth0", "up");
  inPod("addr", "add", `${POD[4]}/24`, "dev", "eth0");
  inPod("-6", "addr", "add", `${POD[6]}/64`, "dev", "eth0", "nodad");
  // As some distributions have it: a tunnel of ours must let answers pass nevertheless.
  run("ip", "netns", "exec", pod, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1");
  return name;
}

/** Looks once what this machine has, in a namespace of its own. */
function survey(): {
  readonly link: "dummy" | "bridge";
  readonly lacks: ReadonlyMap<string, string>;
} {
  const lacks = new Map<string, string>();
  const all = (reason: string) => {
    for (const kind of ["link", "address", "route", "rule", "sysctl"]) lacks.set(kind, reason);
    for (const kind of ["ipset", "ipset.member", "chain", "jump", "nftables"]) {
      lacks.set(kind, reason);
    }
    for (const kind of ["tunnel", "tunnel in UDP", "fou.port", "bridge", "cni.conf"]) {
      lacks.set(kind, reason);
    }
    for (const kind of ["pod.link", "pod.address"]) lacks.set(kind, reason);
    for (const kind of ["ipvs.service", "ipvs.destination"]) lacks.set(kind, reason);
  };
  if (process.getuid?.() !== 0) {
    all("this needs root");
    return { link: "dummy", lacks };
  }
  const name = `routelet-${process.pid}-0`;
  if (!run("ip", "netns", "add", name).ok) {
    all("this machine lacks iproute2 or the right to make network namespaces");
    return { link: "dummy", lacks };
  }
  const inside = (...argv: readonly string[]) => run("ip", "netns", "exec", name, ...argv).ok;
  const dummy = run("ip", "-n", name, "link", "add", "t0", "type", "dummy").ok;
  // With a local end: the one without exists in every namespace already.
  const tunnels = [["ipip", POD[4]], ["ip6tnl", POD[6]]].every(([type = "", local = ""]) =>
    run("ip", "-n", name, "link", "add", `${type}-try`, "type", type, "local", local).ok
  );
  for (const kind of tunnels ? [] : ["tunnel", "pod.link", "pod.address"]) {
    lacks.set(kind, "this machine's Linux lacks ipip or ip6_tunnel");
  }
  for (const module of ["ip_vs", "fou", "fou6"]) run("modprobe", module);
  if (!tunnels || !inside("ip", "fou", "show")) {
    lacks.set("fou.port", "this machine's Linux lacks fou");
  }
  const inUdp = ["ip", "-n", name, "link", "add", "udp0", "type", "ipip", "local", NODE[4]];
  if (!run(...inUdp, "remote", "192.0.2.9", "ttl", "9", "encap", "gue", "encap-dport", "5555").ok) {
    lacks.set("tunnel in UDP", "this machine's Linux lacks tunnels in UDP");
  }
  if (!existsSync("/proc/net/ip_vs")) {
    for (const kind of ["ipvs.service", "ipvs.destination"]) {
      lacks.set(kind, "this machine's Linux lacks ip_vs");
    }
  } else if (!inside("ipvsadm", "-Ln")) {
    for (const kind of ["ipvs.service", "ipvs.destination"]) {
      lacks.set(kind, "this machine lacks ipvsadm");
    }
  }
  if (!inside("ipset", "list")) {
    for (const kind of ["ipset", "ipset.member"]) lacks.set(kind, "this machine lacks ipset");
  }
  if (!inside("iptables-save") && !inside("iptables-legacy-save")) {
    for (const kind of ["chain", "jump"]) lacks.set(kind, "this machine lacks iptables");
  }
  if (!inside("nft", "add table ip t; add table ip6 t")) {
    lacks.set("nftables", "this machine lacks nft or nf_tables");
  }
  run("ip", "netns", "del", name);
  return { link: dummy ? "dummy" : "bridge", lacks };
}

function runner(netns: string): (...argv: readonly string[]) => string {
  return (...argv) => {
    const { ok, text } = run("ip", "netns", "exec", netns, ...argv);
    if (!ok) throw new Error(`Cannot run "${argv.join(" ")}": ${text}`);
    return text;
  };
}

const found = survey();

/** Linux, with packet rules in nf_tables. */
export const nftWorld: Omit<WorldKind, "open"> & { open(): LinuxWorld } = {
  name: "Linux with nftables",
  link: found.link,
  lacks: (kind) =>
    ["ipset", "ipset.member", "chain", "jump"].includes(kind)
      ? found.lacks.get("nftables")
      : found.lacks.get(kind),
  open: () => openWorld("nftables"),
};

export const linuxWorld: Omit<WorldKind, "open"> & { open(): LinuxWorld } = {
  name: found.link === "dummy" ? "Linux" : "Linux, with bridges for dummies",
  link: found.link,
  lacks: (kind) => found.lacks.get(kind),
  open: () => openWorld("iptables"),
};

function openWorld(netfilter: "iptables" | "nftables"): LinuxWorld {
  const netns = makeNamespace(found.link);
  writeCni();
  const runtimeDirectory = mkdtempSync(join(tmpdir(), "routelet-contract-"));
  const open = () => openLinux({ runtimeDirectory, namespace: `/run/netns/${netns}`, netfilter });
  const opened: Dataplane[] = [open()];
  const inside = runner(netns);
  return {
    dataplane: opened[0] as Dataplane,
    run: inside,
    hand: hand(inside, runner(podOf(netns)), netfilter),
    reopen() {
      const again = open();
      opened.push(again);
      return again;
    },
    async close() {
      for (const dataplane of opened) await dataplane.close();
      run("ip", "netns", "del", netns);
      run("ip", "netns", "del", podOf(netns));
      rmSync(CNI_FOLDER, { recursive: true, force: true });
      rmSync(runtimeDirectory, { recursive: true, force: true });
    },
  };
}
