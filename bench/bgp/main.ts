/**
 * The speaker beside BIRD, FRR and GoBGP, one after the other in each round, each in fresh network namespaces. Needs root.
 *
 * `bench/bgp/main.ts [MEASURE…]` → JSON on standard output, a table on standard error. Measures: `100000` and `500000` (receiving
 * so many prefixes, then sending them to a new peer), `6x100000` (of IPv6, received alone, by ours and BIRD), `peers` (500
 * internal peers with one route each, reflected to all), `linux` (a VIP that a router withdraws, to the change of Linux's table;
 * ROUTELET is the agent's executable). ROUNDS (default 1, and 5 of a feed of 100,000, which is over in a moment);
 * DAEMONS=routelet,bird takes some. Our speaker is compiled as the agent is, with its engine's settings.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENGINE_SETTINGS } from "../../src/cli/engine-settings.ts";
import { World } from "../../test/e2e/bgp/world.ts";
import { AS, type Daemon, DAEMONS, type Setup, usage, work } from "./daemons.ts";
import { inLinux, type LinuxResult } from "./linux.ts";
import { peer } from "./peer.ts";
import { MOST_SEND_MS, printed } from "./report.ts";

const ROOT = join(import.meta.dir, "../..");
const MEASURES = process.argv.slice(2).length > 0
  ? process.argv.slice(2)
  : ["100000", "6x100000", "500000", "peers", "linux"];
const ROUNDS = Number(process.env["ROUNDS"] ?? 1);
/** Of a short feed: one look at it says little. */
const SHORT = 100_000;
const SHORT_ROUNDS = Number(process.env["ROUNDS"] ?? 5);
/** The daemons that `Setup.family` knows IPv6 of. */
const NAMES6 = ["routelet", "bird"];
const ONLY = process.env["DAEMONS"]?.split(",");
const NAMES = Object.keys(DAEMONS).filter((name) => ONLY?.includes(name) ?? true);
const TICK_MS = 5;
/** With less work in a tick it rests. */
const IDLE_NS = 1_000_000;
const QUIET_MS = 150;
/** Until memory and processor time are looked at: what a burst left behind is collected by then, and what is hot compiled. */
const SETTLE_MS = 1_500;
const MOST_MS = 60_000;
const PEERS = 500;
const HOLD = 9;
const STEADY_MS = 9_000;
const WITHDRAWALS = 100;
const EXECUTABLE = process.env["ROUTELET"] ?? join(ROOT, `dist/routelet-linux-${process.arch}`);

/** Milliseconds and bytes. */
export interface Feed {
  readonly count: number;
  readonly family: 4 | 6;
  readonly receive: { readonly wall: number; readonly cpu: number; readonly perRoute: number };
  /** Not of IPv6. */
  readonly send: { readonly wall: number; readonly cpu: number } | undefined;
}

export interface Peers {
  readonly peers: number;
  /** From the last session's start until each has all routes. */
  readonly wall: number;
  /** From the first dial until then. */
  readonly cpu: number;
  readonly rss: number;
  /** Share of a core, in percent, with nothing but keepalives. */
  readonly steady: number;
}

/** By daemon, one for each round. */
export interface BgpResult {
  readonly feeds: readonly Readonly<Record<string, readonly Feed[]>>[];
  readonly peers: Readonly<Record<string, readonly Peers[]>> | undefined;
  /** Without GoBGP: Debian's does not get on with Debian's zebra. */
  readonly linux: Readonly<Record<string, LinuxResult>> | undefined;
}

function say(text: string): void {
  console.error(`bench: bgp: ${text}`);
}

/** Does something with a daemon on a link of its own, and cleans up. */
async function withDaemon<R>(
  name: string,
  prepare: (world: World, them: string) => Setup,
  use: (daemon: Daemon, world: World) => Promise<R>,
): Promise<R> {
  const world = new World(speaker);
  try {
    const them = world.neighbor(1);
    const daemon = await DAEMONS[name]?.(world, them, prepare(world, them));
    if (daemon === undefined) throw new Error(`There is no daemon "${name}"`);
    return await use(daemon, world);
  } finally {
    await world.close();
  }
}

async function feed(name: string, count: number, family: 4 | 6): Promise<Feed> {
  const neighbors = [{ address: "198.18.1.1", asn: 65001 }, { address: "198.18.1.3", asn: 65002 }];
  return await withDaemon(
    name,
    (world) => {
      world.address(world.us, "e1", ["198.18.1.3/24"]);
      return { local: "198.18.1.2", neighbors, hold: 240, family };
    },
    async (daemon, world) => {
      const feeder = peer(world, "feeder.ts", "198.18.1.2", `${count}`, `${family}`);
      const sink = peer(world, "sink.ts", "198.18.1.2", "198.18.1.3", "65002", `${count}`);
      try {
        await Promise.all([feeder.line(), sink.line()]);
        await Bun.sleep(500);
        const before = usage(daemon.pid);
        const start = performance.now();
        feeder.tell("go");
        const end = await rest(name, daemon, count, start);
        await Bun.sleep(SETTLE_MS);
        const after = usage(daemon.pid);
        const receive = {
          wall: end - start,
          cpu: after.cpu - before.cpu,
          perRoute: (after.rss - before.rss) / count,
        };
        if (family === 6) return { count, family, receive, send: undefined };
        sink.tell("go");
        const told = await Promise.race([sink.line(), Bun.sleep(MOST_SEND_MS)]);
        const ms = told === undefined ? MOST_SEND_MS : JSON.parse(told).ms as number;
        const cpu = usage(daemon.pid).cpu - after.cpu;
        return { count, family, receive, send: { wall: ms, cpu } };
      } finally {
        await Promise.all([feeder.end(), sink.end()]);
      }
    },
  );
}

/** When it came to rest with all routes. */
async function rest(name: string, daemon: Daemon, count: number, start: number): Promise<number> {
  let done = work(daemon.pid);
  let busy = start;
  for (let now = start; now < start + MOST_MS; now = performance.now()) {
    await Bun.sleep(TICK_MS);
    const before = done;
    done = work(daemon.pid);
    if (done - before > IDLE_NS) busy = performance.now();
    else if (performance.now() > busy + QUIET_MS) {
      if ((await daemon.routes()) === count) return busy;
      done = work(daemon.pid);
      busy = performance.now();
    }
  }
  throw new Error(`${name} has not taken ${count} prefixes`);
}

async function peers(name: string): Promise<Peers> {
  const addresses = Array.from(
    { length: PEERS },
    (_, i) => `10.99.${1 + (i >> 7)}.${1 + (i & 127)}`,
  );
  return await withDaemon(
    name,
    (world, them) => {
      world.addresses(world.us, "e1", addresses.map((address) => `${address}/16`));
      world.address(them, "e0", ["10.99.0.1/16"]);
      return {
        local: "10.99.0.1",
        neighbors: addresses.map((address) => ({ address, asn: AS })),
        reflector: true,
        hold: HOLD,
      };
    },
    async (daemon, world) => {
      await Bun.sleep(500);
      const before = usage(daemon.pid).cpu;
      const mesh = peer(world, "mesh.ts", "10.99.0.1", `${PEERS}`, `${HOLD}`);
      try {
        const { up } = JSON.parse(await mesh.line()) as { readonly up: number };
        const { all } = JSON.parse(await mesh.line()) as { readonly all: number };
        const { cpu } = usage(daemon.pid);
        await Bun.sleep(2_000);
        const { cpu: quiet, rss } = usage(daemon.pid);
        await Bun.sleep(STEADY_MS);
        const steady = 100 * (usage(daemon.pid).cpu - quiet) / STEADY_MS;
        return { peers: PEERS, wall: all - up, cpu: cpu - before, rss, steady };
      } finally {
        await mesh.end();
      }
    },
  );
}

async function byDaemon<T>(
  what: string,
  measure: (name: string) => Promise<T>,
  rounds = ROUNDS,
  names = NAMES,
) {
  const results: Record<string, T[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      say(`${what}, ${name}`);
      results[name]?.push(await measure(name));
    }
  }
  return results;
}

function agent(): string | undefined {
  if (existsSync(EXECUTABLE)) {
    say("a withdrawn VIP to Linux");
    return EXECUTABLE;
  }
  say(`there is no "${EXECUTABLE}", so the agent is left out; build it first`);
  return undefined;
}

/** As the agent is built. */
function compiled(folder: string): string {
  const file = join(folder, "speaker");
  const { exitCode, stderr } = Bun.spawnSync([
    ...[process.execPath, "build", "--compile", "--minify-syntax", "--minify-whitespace"],
    ...["--bytecode", "--format=esm", `--outfile=${file}`],
    join(ROOT, "test/e2e/bgp/speaker-process.ts"),
    join(ROOT, "src/plugins/router/bfd/worker.ts"),
  ]);
  if (exitCode !== 0) throw new Error(`the speaker could not be compiled: ${stderr}`);
  return file;
}

const folder = mkdtempSync(join(tmpdir(), "bench-bgp-"));
let speaker = "";
try {
  Object.assign(process.env, ENGINE_SETTINGS);
  speaker = compiled(folder);
  const feeds: Record<string, Feed[]>[] = [];
  for (const measure of MEASURES) {
    const [, six, digits] = /^(6x)?([0-9]+)$/.exec(measure) ?? [];
    if (digits === undefined) continue;
    const count = Number(digits);
    const family = six === undefined ? 4 : 6;
    feeds.push(
      await byDaemon(
        `${count} IPv${family} prefixes`,
        (name) => feed(name, count, family),
        count <= SHORT ? SHORT_ROUNDS : ROUNDS,
        NAMES.filter((name) => family === 4 || NAMES6.includes(name)),
      ),
    );
  }
  const result: BgpResult = {
    feeds,
    peers: MEASURES.includes("peers")
      ? await byDaemon(`${PEERS} internal peers`, peers)
      : undefined,
    linux: MEASURES.includes("linux") ? await inLinux(agent(), WITHDRAWALS) : undefined,
  };
  console.error(printed(result));
  console.log(JSON.stringify(result));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
