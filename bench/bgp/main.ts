/**
 * Receiving: one external peer announces COUNT prefixes; time until the daemon has read, chosen and rests. Our speaker, BIRD,
 * FRR and GoBGP one after the other in each round, each in a fresh network namespace. Needs root.
 *
 * `bench/bgp/main.ts [COUNT…]` (default 100000), ROUNDS (default 3). The time ends where the process's CPU time ends to grow;
 * what it then says to hold is checked. Our speaker runs with the engine's settings of the agent. DAEMONS=routelet,bird takes some.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ENGINE_SETTINGS } from "../../src/cli/engine-settings.ts";
import { Bird, Frr, Gobgp, until, World } from "../../test/e2e/bgp/world.ts";

const COUNTS = process.argv.slice(2).map(Number);
const ROUNDS = Number(process.env["ROUNDS"] ?? 3);
const ONLY = process.env["DAEMONS"]?.split(",");
const TICK_MS = 10;
const QUIET_MS = 300;

interface Daemon {
  readonly pid: number;
  readonly routes: () => number | Promise<number>;
}

interface Figures {
  readonly wall: number;
  readonly cpu: number;
  /** Bytes of memory a route more than before. */
  readonly perRoute: number;
}

const DAEMONS: Readonly<Record<string, (world: World, namespace: string) => Promise<Daemon>>> = {
  async routelet(world, namespace) {
    const us = await world.speaker({
      options: {},
      peers: [{ address: "198.18.1.1", asn: 65001, passive: true }],
    }, namespace);
    return {
      pid: us.pid,
      routes: async () => (await us.neighbor("198.18.1.1")).prefixes[4].accepted,
    };
  },
  async bird(world, namespace) {
    const bird = new Bird(
      world,
      namespace,
      1,
      `protocol bgp sp { local 198.18.1.2 as 65000; neighbor 198.18.1.1 as 65001; passive on;
  ipv4 { import all; export none; }; }`,
    );
    await until("BIRD answers", () => bird.ask("show status").includes("up and running"));
    return {
      pid: bird.pid,
      routes: () => Number(/([0-9]+) of/.exec(bird.ask("show route count"))?.[1] ?? 0),
    };
  },
  async frr(world, namespace) {
    const frr = new Frr(
      world,
      namespace,
      1,
      `router bgp 65000
 bgp router-id 10.255.0.9
 no bgp ebgp-requires-policy
 neighbor 198.18.1.1 remote-as 65001
 neighbor 198.18.1.1 passive`,
    );
    await until("FRR answers", () => frr.json("show bgp summary") !== undefined);
    const pid = await until(
      "bgpd runs",
      () => Number(readFileSync(join(frr.folder, "bgpd.pid"), "utf8")),
    );
    return {
      pid,
      routes: () => frr.json("show bgp ipv4 unicast summary").peers["198.18.1.1"].pfxRcd,
    };
  },
  async gobgp(world, namespace) {
    const gobgp = new Gobgp(
      world,
      namespace,
      1,
      `[global.config]
  as = 65000
  router-id = "10.255.0.9"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "198.18.1.1"
    peer-as = 65001
  [neighbors.transport.config]
    passive-mode = true
`,
    );
    await until("GoBGP answers", () => gobgp.ask("global").includes("65000"));
    return {
      pid: gobgp.pid,
      routes: () =>
        Number(/Destination: ([0-9]+)/.exec(gobgp.ask("global", "rib", "summary"))?.[1] ?? 0),
    };
  },
};

/** Clock ticks of 10 ms, and resident bytes. */
function usage(pid: number): { readonly ticks: number; readonly rss: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { ticks: Number(fields[11]) + Number(fields[12]), rss: Number(fields[21]) * 4096 };
}

async function measure(name: string, count: number): Promise<Figures> {
  const world = new World(process.env["SPEAKER"]);
  try {
    const them = world.neighbor(1);
    const daemon = await DAEMONS[name]?.(world, them);
    if (daemon === undefined) throw new Error(`There is no daemon "${name}"`);
    const feeder = Bun.spawn([
      ...["ip", "netns", "exec", world.us],
      ...[process.execPath, join(import.meta.dir, "feeder.ts"), "198.18.1.2", String(count)],
    ], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    try {
      const reader = feeder.stdout.getReader();
      await reader.read();
      await Bun.sleep(500);
      const before = usage(daemon.pid);
      const start = performance.now();
      feeder.stdin.write("go\n");
      feeder.stdin.flush();
      let { ticks } = before;
      let last = start;
      // Until it rests, and holds all: what comes later is no work on the feed.
      for (let full = false; !full;) {
        await Bun.sleep(TICK_MS);
        const now = performance.now();
        const next = usage(daemon.pid).ticks;
        if (next > ticks) last = now;
        ticks = next;
        if (now < last + QUIET_MS) continue;
        full = (await daemon.routes()) === count;
        if (now > start + 120_000) throw new Error(`${name} has not taken all`);
      }
      const after = usage(daemon.pid);
      return {
        wall: last - start,
        cpu: (ticks - before.ticks) * TICK_MS,
        perRoute: (after.rss - before.rss) / count,
      };
    } finally {
      feeder.kill("SIGKILL");
      await feeder.exited;
    }
  } finally {
    await world.close();
  }
}

Object.assign(process.env, ENGINE_SETTINGS);

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

for (const count of COUNTS.length > 0 ? COUNTS : [100_000]) {
  const names = Object.keys(DAEMONS).filter((name) => ONLY?.includes(name) ?? true);
  const figures = new Map<string, Figures[]>(names.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of names) figures.get(name)?.push(await measure(name, count));
  }
  const ours = median((figures.get("routelet") ?? []).map(({ wall }) => wall));
  console.log(`receive ${count} prefixes, median of ${ROUNDS}; ratio: theirs to ours`);
  for (const [name, list] of figures) {
    const wall = median(list.map(({ wall }) => wall));
    const cpu = median(list.map(({ cpu }) => cpu));
    const bytes = median(list.map(({ perRoute }) => perRoute));
    console.log(
      `  ${name.padEnd(9)} ${wall.toFixed(0).padStart(6)} ms  ${(wall / ours).toFixed(1)} ×  ` +
        `${(count / wall).toFixed(0).padStart(5)} prefixes/ms  CPU ${cpu} ms  ${
          bytes.toFixed(0)
        } B a route`,
    );
  }
}
