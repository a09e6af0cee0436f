/** Runs scripts in the lab, for the end-to-end tests. */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const REPOSITORY = resolve(import.meta.dir, "../..");
/** In this process: the test runner starts two of them. */
const AT_A_TIME = 1;

export type LabPlace = "host" | "uml" | "kernel";

export interface LabRun {
  /** A file's path, or what would be in it. Manifests are found beside it, or among `files`. */
  readonly topology: string | object;
  /** Text of the script (bash, unless it begins with `#!`), or the path of an executable. */
  readonly script: string;
  /** More files beside topology and script, by name: text, or objects that are written as JSON. */
  readonly files?: Readonly<Record<string, string | readonly object[]>>;
  /** Seconds. Default 120. */
  readonly timeout?: number;
  /** For the lab and, inside, for the script and the agents. */
  readonly env?: Readonly<Record<string, string>>;
  readonly place?: LabPlace;
}

export interface LabResult {
  readonly status: number;
  /** Of the script, without the lab's first line. */
  readonly stdout: string;
  readonly stderr: string;
  /** The first line, which names the place. */
  readonly place: string;
  /** The OUT folder; it is removed when the tests end. */
  readonly out: string;
  /** A file of OUT; empty where there is none. */
  readonly read: (name: string) => string;
  /** All that helps to understand a failure: status, output, logs of the lab and of the agents. */
  readonly report: () => string;
}

/** True for `make soak`: also what `make test` has no time for. */
export const soak: boolean = process.env["SOAK"] === "1";

/** True where `make lab-kernel` has been run: the only place with IPVS and nf_tables in one Linux. */
export const kernelBuilt: boolean = existsSync(
  join(
    Bun.spawnSync([join(REPOSITORY, "test/lab/kernel/where")]).stdout.toString().trim(),
    "linux",
  ),
);

/** Runs the script in the lab and resolves with what came of it, whatever that is. */
export async function runLab(run: LabRun): Promise<LabResult> {
  const release = await acquire();
  try {
    return await start(run);
  } finally {
    release();
  }
}

/**
 * As `runLab`, and throws with the whole report unless the script ended with 0. Most tests want this
 * one: the script itself says what is wrong.
 */
export async function passLab(run: LabRun): Promise<LabResult> {
  const result = await runLab(run);
  if (result.status !== 0) throw new Error(result.report());
  return result;
}

async function start(run: LabRun): Promise<LabResult> {
  const folder = mkdtempSync(join(tmpdir(), "routelet-e2e-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const out = join(folder, "out");
  mkdirSync(out);
  for (const [name, content] of Object.entries(run.files ?? {})) {
    const text = typeof content === "string" ? content : toYaml(content);
    writeFileSync(join(folder, name), text, { mode: 0o755 });
  }
  const child = Bun.spawn([join(REPOSITORY, "test/lab/run")], {
    cwd: folder,
    env: {
      ...process.env,
      ...run.env,
      ...(run.place === undefined ? {} : { LAB_PLACE: run.place }),
      TOPOLOGY: topologyFile(run.topology, folder),
      SCRIPT: scriptFile(run.script, folder),
      OUT: out,
      TIMEOUT: String(run.timeout ?? 120),
    },
    stdin: null,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [text, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const end = text.indexOf("\n");
  const place = end < 0 ? text : text.slice(0, end);
  const stdout = end < 0 ? "" : text.slice(end + 1);
  const read = (name: string) => {
    const path = join(out, name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  const report = () => {
    const agents = existsSync(join(out, "agents")) ? readdirSync(join(out, "agents")) : [];
    const logs = ["room.log", "init.log", ...agents.map((name) => `agents/${name}`)];
    return [
      `The lab ended with status ${status} (${place})`,
      `--- stdout\n${stdout}`,
      `--- stderr\n${stderr}`,
      ...logs.map((name) => `--- ${name}\n${read(name).slice(-4000)}`),
    ].join("\n");
  };
  return { status, stdout, stderr, place, out, read, report };
}

function topologyFile(topology: string | object, folder: string): string {
  if (typeof topology === "string" && !topology.includes("\n")) return resolve(topology);
  const path = join(folder, "topology.yaml");
  writeFileSync(path, typeof topology === "string" ? topology : JSON.stringify(topology));
  return path;
}

function scriptFile(script: string, folder: string): string {
  if (!script.includes("\n") && existsSync(script)) return resolve(script);
  const path = join(folder, "script");
  const head = script.trimStart().startsWith("#!") ? "" : "#!/bin/bash\nset -eu\n";
  writeFileSync(path, head + script.trimStart(), { mode: 0o755 });
  return path;
}

/** A topology of a file with one more flag of every agent. */
export function withFlag(file: string, flag: string): object {
  const topology = Bun.YAML.parse(readFileSync(file, "utf8")) as {
    readonly flags?: readonly string[];
    readonly manifests?: readonly string[];
  };
  return {
    ...topology,
    flags: [...topology.flags ?? [], flag],
    manifests: (topology.manifests ?? []).map((name) => join(dirname(file), name)),
  };
}

/** JSON documents are YAML documents. */
function toYaml(objects: readonly object[]): string {
  return objects.map((object) => JSON.stringify(object)).join("\n---\n");
}

let free = AT_A_TIME;
const queue: (() => void)[] = [];

async function acquire(): Promise<() => void> {
  if (free === 0) await new Promise<void>((resolve) => queue.push(resolve));
  else free--;
  return () => {
    const next = queue.shift();
    if (next === undefined) free++;
    else next();
  };
}
