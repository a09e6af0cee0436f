/**
 * Network namespaces with our speaker in one and routing daemons of others in the rest, each on a link of its own:
 * link N has 198.18.N.1 and fd00:N::1 at our end, .2 and ::2 at the daemon's.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type {
  LocalRoute,
  NeighborView,
  PathView,
  PeerConfig,
  SpeakerEvent,
  SpeakerOptions,
  WhyView,
} from "../../../src/plugins/router/bgp/mod.ts";

const REPOSITORY = resolve(import.meta.dir, "../../..");
const FRR = "/usr/lib/frr";

/** Why these tests cannot run here, as part of their names; or nothing. */
export const lacking: string | undefined = process.getuid?.() !== 0
  ? "needs root"
  : Bun.spawnSync([join(REPOSITORY, "test/lab/setup"), "bird2", "frr", "gobgpd"]).exitCode !== 0
  ? "needs BIRD, FRR and GoBGP"
  : undefined;

export interface SpeakerProcess {
  peers(peers: readonly PeerConfig[]): Promise<void>;
  routes(routes: readonly LocalRoute[]): Promise<void>;
  neighbors(): Promise<readonly NeighborView[]>;
  neighbor(address: string): Promise<NeighborView>;
  rib(which: "in" | "out" | "local", peer?: string): Promise<readonly PathView[]>;
  why(prefix: string): Promise<WhyView>;
  reset(peer: string, how?: { soft?: boolean; reason?: string }): Promise<boolean>;
  stop(how?: { graceful?: boolean; reason?: string }): Promise<void>;
  readonly events: readonly SpeakerEvent[];
  readonly settled: readonly number[];
  readonly pid: number;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** Waits until all sessions of a speaker stand, with what ended each last in place of them. @param but the peer that need not */
export async function established(us: SpeakerProcess, but?: string): Promise<void> {
  await until("all sessions are Established", async () => {
    const neighbors = (await us.neighbors()).filter(({ address }) => address !== but);
    return neighbors.every(({ state }) => state === "Established") ||
      Promise.reject(neighbors.map(({ address, lastError }) => `${address}: ${lastError}`));
  });
}

export interface Start {
  readonly options: Partial<SpeakerOptions>;
  readonly peers: readonly PeerConfig[];
  readonly routes?: readonly LocalRoute[];
}

type Child = ReturnType<typeof Bun.spawn>;

export class World {
  readonly #prefix = `rb${process.pid.toString(36)}${Math.floor(performance.now()).toString(36)}`;
  readonly folder = mkdtempSync(join(tmpdir(), "routelet-bgp-"));
  readonly #namespaces: string[] = [];
  readonly #children: Child[] = [];
  readonly #ends: (() => void)[] = [];
  readonly us: string;
  readonly speakerCommand: readonly string[];

  /** @param speaker the command of a compiled speaker-process.ts */
  constructor(speaker?: string) {
    this.speakerCommand = speaker === undefined
      ? [process.execPath, join(import.meta.dir, "speaker-process.ts")]
      : [speaker];
    this.us = this.namespace("us");
  }

  namespace(name: string): string {
    const full = `${this.#prefix}${name}`;
    run(["ip", "netns", "add", full]);
    this.#namespaces.push(full);
    run(["ip", "-n", full, "link", "set", "lo", "up"]);
    // Addresses are usable at once.
    run(["ip", "netns", "exec", full, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"]);
    return full;
  }

  /** A namespace on link `n` of ours. */
  neighbor(n: number): string {
    const them = this.namespace(`n${n}`);
    run(["ip", "-n", this.us, "link", "add", `e${n}`, "type", "veth", "peer", "e0", "netns", them]);
    this.address(this.us, `e${n}`, [`198.18.${n}.1/24`, `fd00:${n}::1/64`]);
    this.address(them, "e0", [`198.18.${n}.2/24`, `fd00:${n}::2/64`]);
    return them;
  }

  address(namespace: string, link: string, addresses: readonly string[]): void {
    for (const address of addresses) {
      const nodad = address.includes(":") ? ["nodad"] : [];
      run(["ip", "-n", namespace, "address", "add", address, "dev", link, ...nodad]);
    }
    run(["ip", "-n", namespace, "link", "set", link, "up"]);
  }

  /** Many IPv4 addresses at once. */
  addresses(namespace: string, link: string, addresses: readonly string[]): void {
    const lines = addresses.map((address) => `address add ${address} dev ${link}\n`);
    run(["ip", "-n", namespace, "-batch", this.file("addresses", lines.join(""))]);
  }

  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  spawn(namespace: string, command: readonly string[], name: string): Child {
    const log = Bun.file(join(this.folder, `${name}.log`));
    const child = Bun.spawn(["ip", "netns", "exec", namespace, ...command], {
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    this.#children.push(child);
    return child;
  }

  log(name: string): string {
    try {
      return readFileSync(join(this.folder, `${name}.log`), "utf8");
    } catch {
      return "";
    }
  }

  /** Our speaker, at our end or in another namespace. */
  async speaker(
    { options, peers, routes = [] }: Start,
    namespace = this.us,
  ): Promise<SpeakerProcess> {
    const child = Bun.spawn([
      "ip",
      "netns",
      "exec",
      namespace,
      ...this.speakerCommand,
    ], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    this.#children.push(child);
    const waiting = new Map<number, (answer: { result?: unknown; error?: string }) => void>();
    const events: SpeakerEvent[] = [];
    const settled: number[] = [];
    const lines = createInterface({ input: Readable.fromWeb(child.stdout as never) });
    lines.on("line", (line) => {
      const message = JSON.parse(line);
      if (message.event !== undefined) events.push(message.event);
      else if (message.settled !== undefined) settled.push(message.settled);
      else waiting.get(message.id)?.(message);
    });
    let last = 0;
    const ask = async (name: string, input?: unknown): Promise<never> => {
      const id = ++last;
      const answer = new Promise<{ result?: unknown; error?: string }>((resolve) =>
        waiting.set(id, resolve)
      );
      child.stdin.write(`${JSON.stringify({ id, do: name, with: input })}\n`);
      child.stdin.flush();
      const { result, error } = await Promise.race([
        answer,
        child.exited.then(() => ({ result: undefined, error: `The speaker ended during ${name}` })),
      ]);
      if (error !== undefined) throw new Error(error);
      return result as never;
    };
    await ask("create", {
      options: {
        asn: 65000,
        routerId: "198.18.0.1",
        listen: [{ address: "0.0.0.0", port: 179 }, { address: "::", port: 179 }],
        ...options,
      },
      peers,
      routes,
    });
    const neighbors = (): Promise<readonly NeighborView[]> => ask("neighbors");
    return {
      peers: (list) => ask("peers", list),
      routes: (list) => ask("routes", list),
      neighbors,
      async neighbor(address) {
        const found = (await neighbors()).find((peer) => peer.address === address);
        if (found === undefined) throw new Error(`There is no neighbour ${address}`);
        return found;
      },
      rib: (which, peer) => ask("rib", { which, peer }),
      why: (prefix) => ask("why", prefix),
      reset: (peer, how) => ask("reset", { peer, how }),
      stop: (how) => ask("stop", how),
      events,
      settled,
      pid: child.pid,
      async kill(signal = "SIGKILL") {
        child.kill(signal);
        await child.exited;
      },
    };
  }

  /** What else has to end with it. */
  ends(end: () => void): void {
    this.#ends.push(end);
  }

  async close(): Promise<void> {
    for (const end of this.#ends) end();
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(this.#children.map((child) => child.exited));
    for (const namespace of this.#namespaces) {
      Bun.spawnSync(["ip", "netns", "delete", namespace]);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function run(command: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command]);
  if (exitCode !== 0) throw new Error(`"${command.join(" ")}" failed: ${stderr}${stdout}`);
  return stdout.toString();
}

/** The output of a command in a namespace; its standard error where it fails. */
export function query(namespace: string, command: readonly string[]): string {
  const { stdout, stderr } = Bun.spawnSync(["ip", "netns", "exec", namespace, ...command]);
  return stdout.length > 0 ? stdout.toString() : stderr.toString();
}

/** Waits until `test` returns something true, and returns it. */
export async function until<T>(
  what: string,
  test: () => T | Promise<T>,
  seconds = 20,
): Promise<NonNullable<T>> {
  const end = performance.now() + seconds * 1000;
  let last: unknown;
  while (performance.now() < end) {
    try {
      const result = await test();
      if (result) return result as NonNullable<T>;
      last = result;
    } catch (error) {
      last = error;
    }
    await Bun.sleep(100);
  }
  throw new Error(`Not within ${seconds} s: ${what}; at last ${String(last)}`);
}

/** BIRD on link `n`, as AS 65000 + `n`, unless `bgp` says otherwise. */
export class Bird {
  readonly socket: string;
  readonly #child: Child;

  constructor(readonly world: World, readonly namespace: string, n: number, config: string) {
    this.socket = join(world.folder, `bird${n}.ctl`);
    const file = world.file(
      `bird${n}.conf`,
      `router id 10.255.0.${n};\nprotocol device { }\n${config}\n`,
    );
    const pid = join(world.folder, `bird${n}.pid`);
    this.#child = world.spawn(
      namespace,
      ["bird", "-f", "-c", file, "-s", this.socket, "-P", pid],
      `bird${n}`,
    );
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Without a word to anyone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  ask(command: string): string {
    return query(this.namespace, ["birdc", "-s", this.socket, ...command.split(" ")]);
  }

  /** Prefixes in its table. */
  routes(): string[] {
    return [...this.ask("show route all").matchAll(/^([0-9a-f.:]+\/[0-9]+)\s/gm)]
      .map(([, prefix]) => prefix ?? "").sort();
  }
}

/** FRR's bgpd, and bfdd on demand, on link `n`; without zebra, so next hops count as reachable. */
export class Frr {
  readonly folder: string;
  readonly #child: Child;

  constructor(
    readonly world: World,
    readonly namespace: string,
    n: number,
    config: string,
    bfd?: string,
  ) {
    this.folder = join(world.folder, `frr${n}`);
    mkdirSync(this.folder, { recursive: true });
    const file = world.file(`frr${n}.conf`, `log stdout\n${config}\n`);
    const common = ["--vty_socket", this.folder];
    if (bfd !== undefined) {
      // It insists on its own user; what it may not read it takes for an empty configuration.
      chmodSync(world.folder, 0o755);
      Bun.spawnSync(["chown", "-R", "frr:frr", this.folder]);
      // From zebra it learns which interfaces there are.
      world.spawn(namespace, [
        `${FRR}/zebra`,
        ...common,
        "-z",
        join(this.folder, "zserv"),
        "-f",
        world.file(`zebra${n}.conf`, ""),
        "-i",
        join(this.folder, "zebra.pid"),
      ], `zebra${n}`);
      world.spawn(namespace, [
        "sh",
        "-c",
        // Without zebra's socket it would try again only after ten seconds.
        'while [ ! -S "$1" ]; do sleep 0.1; done; shift; exec "$@"',
        "sh",
        join(this.folder, "zserv"),
        `${FRR}/bfdd`,
        ...common,
        "-z",
        join(this.folder, "zserv"),
        "--bfdctl",
        join(this.folder, "bfdd.sock"),
        "-f",
        world.file(`bfdd${n}.conf`, `log stdout\n${bfd}\n`),
        "-i",
        join(this.folder, "bfdd.pid"),
      ], `bfdd${n}`);
    }
    this.#child = world.spawn(namespace, [
      `${FRR}/bgpd`,
      "-S",
      "-n",
      "-u",
      "root",
      "-g",
      "root",
      ...common,
      "-z",
      join(this.folder, "zserv"),
      "-f",
      file,
      "-i",
      join(this.folder, "bgpd.pid"),
    ], `frr${n}`);
  }

  /** Ends bgpd without a word to anyone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  ask(command: string, daemon = "bgpd"): string {
    return query(this.namespace, [
      "vtysh",
      "--vty_socket",
      this.folder,
      "-d",
      daemon,
      "-c",
      command,
    ]);
  }

  configure(...lines: string[]): string {
    const commands = ["configure terminal", ...lines].flatMap((line) => ["-c", line]);
    return query(this.namespace, ["vtysh", "--vty_socket", this.folder, "-d", "bgpd", ...commands]);
  }

  // deno-lint-ignore no-explicit-any -- FRR's own JSON
  json(command: string, daemon = "bgpd"): any {
    return JSON.parse(this.ask(`${command} json`, daemon));
  }

  routes(family: "ipv4" | "ipv6"): string[] {
    return Object.keys(this.json(`show bgp ${family} unicast`).routes).sort();
  }

  state(peer: string): string {
    return this.json(`show bgp neighbors ${peer}`)[peer]?.bgpState;
  }
}

/** gobgpd on link `n`. */
export class Gobgp {
  readonly #child: Child;

  /** @param restarts it says in its OPENs that it has restarted */
  constructor(
    readonly world: World,
    readonly namespace: string,
    n: number,
    config: string,
    restarts = false,
  ) {
    const file = world.file(`gobgp${n}.toml`, config);
    const command = ["gobgpd", "-f", file, "--api-hosts", "127.0.0.1:50051", "--pprof-disable"];
    this.#child = world.spawn(namespace, [...command, ...(restarts ? ["-r"] : [])], `gobgp${n}`);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Without a word to anyone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  ask(...command: string[]): string {
    return query(this.namespace, ["gobgp", ...command]);
  }

  routes(family: "ipv4" | "ipv6"): string[] {
    return Object.keys(JSON.parse(this.ask("global", "rib", "-j", "-a", family))).sort();
  }

  established(peer: string): boolean {
    return JSON.parse(this.ask("neighbor", peer, "-j")).state.session_state === 6;
  }
}
