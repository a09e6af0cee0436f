/** From a VIP that a router withdraws to the change of Linux's table: the compiled agent, BIRD and FRR with zebra. */

import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ENGINE_SETTINGS } from "../../src/cli/engine-settings.ts";
import { Bird, query, until, World } from "../../test/e2e/bgp/world.ts";
import { lines, peer } from "./peer.ts";

const LOCAL = "198.18.1.2";
const ROUTER = "198.18.1.1";
const HOLD = 3;
/** Between two withdrawals: none waits for the round before it. */
const PAUSE_MS = 150;
const SERVICES = 10_000;
const ROUNDS = 2;
const FRR = "/usr/lib/frr";

export interface LinuxResult {
  /** From the router's write to Linux's word of it, in ms. */
  readonly withdrawals: readonly number[];
  /** The agent's longest silence while 10,000 Services were synced, with keepalives due each second. */
  readonly silence?: number;
}

type Start = (world: World, them: string) => Promise<((services: number) => Promise<void>) | void>;

const STARTS = {
  async bird(world: World, them: string) {
    new Bird(
      world,
      them,
      1,
      `protocol kernel { ipv4 { import none; export all; }; }
protocol bgp sp { local ${LOCAL} as 65000; neighbor ${ROUTER} as 65001; passive on; hold time ${HOLD};
  ipv4 { import all; export none; }; }`,
    );
    await Bun.sleep(300);
  },
  async frr(world: World, them: string) {
    const folder = join(world.folder, "frr");
    mkdirSync(folder);
    // zebra insists on its own user.
    chmodSync(world.folder, 0o755);
    Bun.spawnSync(["chown", "-R", "frr:frr", folder]);
    const socket = join(folder, "zserv");
    const common = ["--vty_socket", folder, "-z", socket];
    const file = (name: string, text: string): string => world.file(name, text);
    world.spawn(them, [
      ...[`${FRR}/zebra`, ...common, "-f", file("zebra.conf", "\n")],
      ...["-i", join(folder, "zebra.pid")],
    ], "zebra");
    await until("zebra runs", () => existsSync(socket));
    const config = `router bgp 65000
 bgp router-id 10.255.0.9
 no bgp ebgp-requires-policy
 neighbor ${ROUTER} remote-as 65001
 neighbor ${ROUTER} passive
 neighbor ${ROUTER} timers 1 ${HOLD}
`;
    world.spawn(them, [
      ...[`${FRR}/bgpd`, "-S", "-u", "root", "-g", "root", ...common],
      ...["-f", file("bgpd.conf", config), "-i", join(folder, "bgpd.pid")],
    ], "bgpd");
    await Bun.sleep(300);
  },
  routelet: (executable: string): Start => async (world, them) => {
    const folder = join(world.folder, "agent");
    mkdirSync(folder);
    const api = Bun.spawn([
      ...["ip", "netns", "exec", them, process.execPath, join(import.meta.dir, "api.ts")],
      ...[folder, LOCAL],
    ], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    world.ends(() => api.kill("SIGKILL"));
    const kubeconfig = join(folder, "kubeconfig");
    await until("the API server listens", () => existsSync(kubeconfig));
    Object.assign(process.env, ENGINE_SETTINGS);
    world.spawn(them, [
      executable,
      ...[`--kubeconfig=${kubeconfig}`, "--hostname-override=node1"],
      ...[`--runtime-dir=${join(folder, "run")}`, "--service-cluster-ip-range=10.96.0.0/16"],
      ...["--run-service-proxy=false", "--run-firewall=false", "--run-router=true"],
      ...["--enable-cni=false", "--enable-overlay=false", "--enable-pod-egress=false"],
      ...["--cluster-asn=65000", `--peer-router-ips=${ROUTER}`, "--peer-router-asns=65001"],
      ...["--advertise-cluster-ip", `--bgp-holdtime=${HOLD}s`],
      ...["--health-port=0", "--metrics-port=0", "--log-format=json"],
    ], "agent");
    const answer = lines(api.stdout);
    return async (services) => {
      api.stdin.write(`${services}\n`);
      api.stdin.flush();
      await answer();
    };
  },
};

function routes(namespace: string): number {
  return query(namespace, ["ip", "route"]).split("\n").filter((line) => line.startsWith("10.201."))
    .length;
}

async function measure(start: Start, count: number, sync: boolean): Promise<LinuxResult> {
  const world = new World();
  try {
    const them = world.neighbor(1);
    const put = await start(world, them);
    const router = peer(world, "vips.ts", LOCAL, ROUTER, `${count}`, `${HOLD}`);
    world.ends(() => void router.end());
    await router.line();
    try {
      await until("Linux has all", () => routes(them) === count, 30);
    } catch (error) {
      throw new Error(`${error}\n${world.log("agent").slice(-3000)}${world.log("bgpd")}`);
    }
    const monitor = Bun.spawn(
      ["ip", "netns", "exec", them, "ip", "-o", "-4", "monitor", "route"],
      { stdout: "pipe", stderr: "inherit" },
    );
    world.ends(() => monitor.kill("SIGKILL"));
    const change = lines(monitor.stdout);
    await Bun.sleep(500);
    const withdrawals: number[] = [];
    for (let i = 0; i < count; i++) {
      router.tell("next");
      const { prefix, at } = JSON.parse(await router.line()) as { prefix: string; at: number };
      for (;;) {
        const line = await change();
        if (line.startsWith("Deleted ") && line.includes(prefix)) break;
      }
      withdrawals.push(performance.timeOrigin + performance.now() - at);
      await Bun.sleep(PAUSE_MS);
    }
    if (!sync || put === undefined) return { withdrawals };
    router.tell("gap");
    await router.line();
    await put(SERVICES);
    // All announced, and some time to be late afterwards.
    await Bun.sleep(10_000);
    router.tell("gap");
    const { gap } = JSON.parse(await router.line()) as { readonly gap: number };
    return { withdrawals, silence: gap };
  } finally {
    await world.close();
  }
}

/**
 * Some rounds of so many withdrawals, and their worst.
 *
 * @param executable the compiled agent; none: without it
 */
export async function inLinux(
  executable: string | undefined,
  count: number,
): Promise<Readonly<Record<string, LinuxResult>>> {
  const starts: readonly (readonly [string, Start])[] = [
    ...(executable === undefined ? [] : [["routelet", STARTS.routelet(executable)] as const]),
    ["bird", STARTS.bird],
    ["frr", STARTS.frr],
  ];
  const results: Record<string, LinuxResult> = {};
  // In turn: what else the machine does now and then falls upon each of them.
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, start] of starts) {
      const { withdrawals, ...rest } = await measure(start, count, round === 0);
      const before = results[name];
      results[name] = {
        ...before,
        ...rest,
        withdrawals: [...before?.withdrawals ?? [], ...withdrawals],
      };
    }
  }
  return results;
}
