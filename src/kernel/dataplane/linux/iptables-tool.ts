/** Runs the host's iptables tools: which of its two variants holds the rules, and one call at a time. */

import { existsSync } from "node:fs";
import { KernelError } from "../errors.ts";
import type { Family } from "../resource.ts";
import { inNetworkNamespace } from "./netns.ts";

/** "legacy" (ip_tables) and "nft" (nf_tables) keep separate rules; "" is a tool that comes in one variant only. */
export type Variant = "legacy" | "nft" | "";

export interface Iptables {
  readonly variant: Variant;
  readonly version: string;
  /** `--random-fully` and `-w` of the restore came with 1.6.2. */
  readonly modern: boolean;
}

export interface ToolResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A long text for `iptables-restore`, made bit by bit while the tool reads. */
export interface Script {
  /** The tables that it is about. */
  readonly tables: readonly string[];
  /** May be asked for more than once. */
  pieces(): Iterable<string>;
}

/** Seconds that a call waits for the xtables lock, which other tools hold for moments. */
const LOCK_SECONDS = 10;
const TIMEOUT_MS = 60_000;
const TIMED_OUT = "it did not end within";
/** Runs whose events may still be on their way. */
const REMEMBERED = 64;

const REMEDY =
  "install the iptables package on the host or in the image, or choose --netfilter=nftables";

export class IptablesTool {
  readonly #namespace: number | string | undefined;
  readonly #onRun: ((action: "save" | "restore", family: Family, ms: number) => void) | undefined;
  #found: Promise<Iptables> | undefined;
  #variant: Variant | undefined;
  /** Processes that changed rules for us lately: nf_tables events carry the sender's port id, which is its pid. */
  readonly #pids: number[] = [];
  /** Called with them when one is about to begin. */
  onStart: ((pids: readonly number[]) => void) | undefined;
  /** Called before the nft variant writes to tables. */
  onWrite: ((family: Family, tables: readonly string[]) => Promise<void>) | undefined;
  /** The last run of each family, and of all that belong to none. */
  readonly #queues = new Map<Family | undefined, Promise<unknown>>();

  constructor(
    namespace?: number | string,
    onRun?: (action: "save" | "restore", family: Family, ms: number) => void,
  ) {
    this.#namespace = namespace;
    this.#onRun = onRun;
  }

  /** The variant that this host uses, once it was looked for. */
  get variant(): Variant | undefined {
    return this.#variant;
  }

  /** Netlink port ids of the tools that ran for us lately. */
  get pids(): readonly number[] {
    return this.#pids;
  }

  /** Whether a netlink port id is that of a tool that ran for us. */
  isOurs(portId: number): boolean {
    return this.#pids.includes(portId);
  }

  /** The variant that this host uses; looked for once. @throws {KernelError} ENOSUPPORT without iptables */
  found(): Promise<Iptables> {
    this.#found ??= this.#find().catch((error: unknown) => {
      this.#found = undefined;
      throw error;
    });
    return this.#found;
  }

  /** All rules of a family. @throws {KernelError} */
  async save(family: Family, { counters = false } = {}): Promise<string> {
    const { variant } = await this.found();
    const options = counters ? ["-c"] : [];
    const start = performance.now();
    const result = await this.run([command(family, variant, "save"), ...options], "", family);
    this.#onRun?.("save", family, performance.now() - start);
    if (result.status === 0) return result.stdout;
    // Without the ipv6 module there is nothing to read, and nothing of ours.
    if (family === 6 && !existsSync("/proc/net/if_inet6")) return "";
    throw toolError("list iptables", `ipv${family}`, result);
  }

  /** One transaction per table: the text of an `iptables-restore --noflush`. */
  async restore(family: Family, text: string | Script): Promise<ToolResult> {
    const { variant, modern } = await this.found();
    if (this.#variant === "nft") {
      await this.onWrite?.(
        family,
        typeof text !== "string"
          ? text.tables
          : [...text.matchAll(/^\*(\w+)$/gm)].map(([, table = ""]) => table),
      );
    }
    const wait = modern ? ["-w", `${LOCK_SECONDS}`] : [];
    const start = performance.now();
    const result = await this.run(
      [command(family, variant, "restore"), "--noflush", ...wait],
      typeof text === "string" ? [text] : text.pieces(),
      family,
    );
    this.#onRun?.("restore", family, performance.now() - start);
    // A Linux with nf_tables but without its ip and ip6 families says so only when a table is made.
    const unsupported = variant === "nft" && /TABLE_ADD failed.*not supported/i.test(result.stderr);
    if (!unsupported || !installed("legacy")) return result;
    this.#found = Promise.resolve(await this.#describe("legacy"));
    return await this.restore(family, text);
  }

  /**
   * Runs one tool at a time: two of ours would only wait for each other's lock. The nft variant has no lock, and what it does for
   * a family is in no other's way: there one of each family runs at a time.
   *
   * @param family which one it reads or writes, where it is one
   */
  run(
    argv: readonly string[],
    input: string | Iterable<string>,
    family?: Family,
  ): Promise<ToolResult> {
    const queue = this.#variant === "nft" ? family : undefined;
    const before = queue === undefined
      ? [...this.#queues.values()]
      : [this.#queues.get(queue), this.#queues.get(undefined)];
    const turn = Promise.all(before)
      .then(() => this.#spawn(argv, typeof input === "string" ? [input] : input));
    this.#queues.set(queue, turn.catch(() => {}));
    return turn;
  }

  async #spawn(argv: readonly string[], input: Iterable<string>): Promise<ToolResult> {
    const start = () =>
      Bun.spawn([...argv], {
        stdin: "pipe",
        stdout: "pipe",
        stderr: "pipe",
        timeout: TIMEOUT_MS,
        env: { PATH: searchPath(), LC_ALL: "C" },
      });
    let child: ReturnType<typeof start>;
    try {
      child = this.#namespace === undefined ? start() : inNetworkNamespace(this.#namespace, start);
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (typeof code !== "string") throw error;
      // EMFILE, EAGAIN, ENOMEM: the host is short of something, which costs these changes and no others.
      throw code === "ENOENT"
        ? new KernelError("run", "ENOSUPPORT", { object: argv[0] ?? "", remedy: REMEDY })
        : new KernelError("run", code, { object: argv[0] ?? "" });
    }
    if (this.#pids.push(child.pid) > REMEMBERED) this.#pids.shift();
    // It waits for its input before it writes anything.
    this.onStart?.(this.#pids);
    const said = Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    try {
      await feed(child, input);
    } catch (error) {
      // Without its end the transaction is none.
      child.kill();
      throw error;
    }
    const [stdout, stderr, status] = await said;
    // Bun ends a child that takes too long by SIGTERM.
    const late = child.signalCode === "SIGTERM" ? `${TIMED_OUT} ${TIMEOUT_MS / 1000} s` : "";
    return { status, stdout, stderr: stderr + late };
  }

  async #find(): Promise<Iptables> {
    const variants = VARIANTS.filter(installed);
    if (variants.length === 0) {
      throw new KernelError("find iptables", "ENOSUPPORT", {
        detail: 'there is no "iptables-restore"',
        remedy: REMEDY,
      });
    }
    for (const variant of await this.#ranked(variants)) {
      // An empty transaction changes nothing and tells whether Linux has this variant at all.
      const restore = command(4, variant, "restore");
      const probe = await this.run([restore, "--noflush"], "*filter\nCOMMIT\n");
      if (probe.status === 0) return await this.#describe(variant);
    }
    throw new KernelError("use iptables", "ENOSUPPORT", {
      detail: "neither nf_tables nor ip_tables answers",
      remedy: 'load one on the host with "modprobe nf_tables" or "modprobe ip_tables"',
    });
  }

  async #describe(variant: Variant): Promise<Iptables> {
    const { stdout } = await this.run([command(4, variant, "restore"), "--version"], "");
    const version = /v(\d+(?:\.\d+)*)/.exec(stdout)?.[1] ?? "0";
    // A tool of one variant says which: "iptables-restore v1.8.9 (legacy)"; before 1.8 there was only that.
    this.#variant = variant !== "" ? variant : stdout.includes("nf_tables") ? "nft" : "legacy";
    return { variant, version, modern: atLeast(version, [1, 6, 2]) };
  }

  /** The variants, the one that holds the node's rules first, as kubernetes' iptables-wrapper decides. */
  async #ranked(variants: readonly Variant[]): Promise<readonly Variant[]> {
    if (!variants.includes("nft") || !variants.includes("legacy")) {
      return [...variants.filter((v) => v !== ""), ...variants.filter((v) => v === "")];
    }
    const nft = await this.#rules("nft");
    // Asking the legacy tool would load ip_tables where nobody uses it.
    const legacy =
      existsSync("/proc/net/ip_tables_names") || existsSync("/proc/net/ip6_tables_names")
        ? await this.#rules("legacy")
        : NO_RULES;
    if (nft.hint !== legacy.hint) return nft.hint ? ["nft", "legacy"] : ["legacy", "nft"];
    if (nft.count !== legacy.count) {
      return nft.count > legacy.count ? ["nft", "legacy"] : ["legacy", "nft"];
    }
    const { stdout } = variants.includes("")
      ? await this.run(["iptables", "--version"], "")
      : { stdout: "" };
    return stdout.includes("legacy") ? ["legacy", "nft"] : ["nft", "legacy"];
  }

  async #rules(variant: Variant): Promise<typeof NO_RULES> {
    let count = 0;
    let hint = false;
    for (const family of [4, 6] as const) {
      const { stdout } = await this.run([command(family, variant, "save")], "");
      for (const line of stdout.split("\n")) {
        if (line.startsWith("-")) count++;
        // kubelet leaves these chains for this very question.
        hint ||= line.startsWith(":KUBE-IPTABLES-HINT ") ||
          line.startsWith(":KUBE-KUBELET-CANARY ");
      }
    }
    return { count, hint };
  }
}

/** Gives a tool its input piece by piece, each when it has taken the one before: others get their turns meanwhile. */
async function feed(child: Bun.PipedSubprocess, input: Iterable<string>): Promise<void> {
  const { stdin } = child;
  for (const piece of input) {
    try {
      await stdin.write(piece);
      await stdin.flush();
    } catch {
      // EPIPE: it has found a fault, and says so at its end.
      break;
    }
    if (child.exitCode !== null || child.signalCode !== null) break;
  }
  try {
    await stdin.end();
  } catch {
    // The same.
  }
}

const NO_RULES = { count: 0, hint: false };

const VARIANTS = ["nft", "legacy", ""] as const;

/** Whether iptables is on this host, in any variant. */
export function isInstalled(): boolean {
  return VARIANTS.some(installed);
}

function installed(variant: Variant): boolean {
  return Bun.which(command(4, variant, "restore"), { PATH: searchPath() }) !== null;
}

function command(family: Family, variant: Variant, action: "save" | "restore"): string {
  const tool = family === 4 ? "iptables" : "ip6tables";
  return variant === "" ? `${tool}-${action}` : `${tool}-${variant}-${action}`;
}

/** Service managers often leave out the sbin folders. */
function searchPath(): string {
  return `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin`;
}

/** Whether a dotted version is at least `wanted`. */
export function atLeast(version: string, wanted: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  for (const [i, want] of wanted.entries()) {
    const part = parts[i] ?? 0;
    if (part !== want) return part > want;
  }
  return true;
}

/** Whether a tool failed for what would stop any other text as well: another holds the lock, or Linux does not answer. */
export function isHeldUp({ stderr }: ToolResult): boolean {
  return /xtables lock/i.test(stderr) || stderr.includes(TIMED_OUT);
}

/** The error of a tool that failed, with an errno's name for what its text says, or `silent` where it says nothing. */
export function toolError(
  op: string,
  object: string,
  result: ToolResult,
  silent = "EINVAL",
): KernelError {
  const detail = result.stderr.split("\n").map((line) => line.trim()).filter((line) =>
    line !== "" && !line.startsWith("Try `") && !line.startsWith("#")
  ).join("; ").slice(0, 400);
  const remedy = /holding the xtables lock/i.test(detail)
    ? "another tool holds the iptables lock; it is tried again"
    : undefined;
  return new KernelError(op, codeOf(detail, silent), {
    object,
    detail: detail === "" ? `exit status ${result.status}` : detail,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

function codeOf(detail: string, silent: string): string {
  if (/xtables lock/i.test(detail)) return "EAGAIN";
  if (detail.includes(TIMED_OUT)) return "ETIMEDOUT";
  if (/Permission denied|you must be root|Operation not permitted/i.test(detail)) return "EPERM";
  if (/busy|Too many links|Directory not empty/i.test(detail)) return "EBUSY";
  if (/exist|No such file|No chain/i.test(detail)) return "ENOENT";
  return silent;
}
