/**
 * Benchmark (a) of the netlink layer: a whole IPVS table into an empty one, against `ipvsadm -R` and against a C program that sends
 * the same messages. Prints a Markdown table and writes JSON; ratios of medians of one boot, since absolute times inside user-mode
 * Linux mean little. Needs root, IPVS, ip, ipvsadm and cc.
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeNamespace, removeNamespace } from "./namespace.ts";
import { benchTable, restoreText } from "./table.ts";

const here = import.meta.dir;
const services = Number(process.env["SERVICES"] ?? 10_000);
const destinations = Number(process.env["DESTINATIONS"] ?? 5);
const runs = Number(process.env["RUNS"] ?? 5);
/** ipvsadm takes seconds where the others take tenths. */
const ipvsadmRuns = Math.min(runs, Number(process.env["IPVSADM_RUNS"] ?? 3));
const output = process.env["LAB_OUT"] ?? join(here, "../../dist/bench");

const work = mkdtempSync(join(tmpdir(), "bench-netlink-"));
let counter = 0;

function run(command: readonly string[], stdin?: string): string {
  const result = Bun.spawnSync(
    [...command],
    stdin === undefined ? {} : { stdin: Buffer.from(stdin) },
  );
  if (!result.success) {
    throw new Error(`${command.slice(0, 4).join(" ")}: ${result.stderr.toString()}`);
  }
  return result.stdout.toString();
}

/** A fresh namespace for one run. */
async function inNamespace<T>(use: (name: string) => T): Promise<T> {
  const name = `bench${process.pid}-${counter++}`;
  await makeNamespace(name);
  try {
    return use(name);
  } finally {
    await removeNamespace(name);
  }
}

interface Layer {
  readonly times: readonly number[];
  readonly warmUpMs: number;
  readonly rss: number;
}

function layer(mode: "wire" | "tables", rounds: number, ...options: readonly string[]): Layer {
  const words = [`${services}`, `${destinations}`, `${rounds}`, mode, ...options];
  return JSON.parse(run([process.execPath, join(here, "layer.ts"), ...words])) as Layer;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN;
}

const twin = join(work, "twin");
run([process.env["CC"] ?? "cc", "-O2", "-o", twin, join(here, "twin.c")]);
const text = restoreText(benchTable(services, destinations));
const ipvsadm: number[] = [];
const c: number[] = [];
const cold: number[] = [];
const prepared: number[] = [];
const warm: number[] = [];
const tablesCold: number[] = [];
const tablesWarm: number[] = [];
const warmUps: number[] = [];
let rss = 0;

for (let i = 0; i < runs; i++) {
  // In turn, so that a busy moment of the machine hits all of them.
  const size = [`${services}`, `${destinations}`];
  c.push(await inNamespace((name) => Number(run(["ip", "netns", "exec", name, twin, ...size]))));
  cold.push(layer("wire", 1).times[0] ?? NaN);
  const ready = layer("wire", 1, "--warm-up");
  prepared.push(ready.times[0] ?? NaN);
  warmUps.push(ready.warmUpMs);
  warm.push(layer("wire", 4).times.at(-1) ?? NaN);
  const often = layer("tables", 4);
  tablesCold.push(often.times[0] ?? NaN);
  tablesWarm.push(often.times.at(-1) ?? NaN);
  rss = Math.max(rss, often.rss);
  if (i >= ipvsadmRuns) continue;
  ipvsadm.push(
    await inNamespace((name) => {
      const start = performance.now();
      run(["ip", "netns", "exec", name, "ipvsadm", "-R"], text);
      return performance.now() - start;
    }),
  );
}
rmSync(work, { recursive: true });

const base = median(c);
const tool = median(ipvsadm);
const rows = [
  ["`ipvsadm -R`", ipvsadm],
  ["C, pipelined (twin.c)", c],
  ["netlink layer, cold process", cold],
  ["netlink layer, cold process after warmUp()", prepared],
  ["netlink layer, warm", warm],
  ["tables on it (ledger, outcomes), cold process", tablesCold],
  ["tables on it, warm", tablesWarm],
] as const;

const uname = run(["uname", "-r"]).trim();
console.log(
  `${services} services × ${destinations} destinations into an empty table, Linux ${uname},`,
);
console.log(
  `medians of ${runs} runs (ipvsadm: ${ipvsadmRuns}), warmUp() itself ${
    median(warmUps).toFixed(1)
  } ms\n`,
);
console.log("| | ms | of C | times faster than ipvsadm |\n|---|---:|---:|---:|");
for (const [name, times] of rows) {
  const ms = median(times);
  console.log(
    `| ${name} | ${ms.toFixed(0)} | ${(ms / base).toFixed(2)} | ${(tool / ms).toFixed(1)} |`,
  );
}
console.log(`\nresident memory of the warm process: ${(rss / 1048576).toFixed(0)} MB`);

mkdirSync(output, { recursive: true });
await Bun.write(
  join(output, "netlink.json"),
  `${
    JSON.stringify(
      {
        kernel: uname,
        services,
        destinations,
        ipvsadm,
        c,
        cold,
        prepared,
        warm,
        tablesCold,
        tablesWarm,
        warmUps,
        rss,
      },
      null,
      2,
    )
  }\n`,
);
