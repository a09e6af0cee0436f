import { describe, expect, test } from "bun:test";
import { chainTable, IptablesState } from "../../../../../src/kernel/dataplane/linux/iptables.ts";
import {
  IptablesTool,
  type Script,
} from "../../../../../src/kernel/dataplane/linux/iptables-tool.ts";
import { IptablesWatch } from "../../../../../src/kernel/dataplane/linux/iptables-watch.ts";
import type { Family } from "../../../../../src/kernel/dataplane/resource.ts";
import type { Chain } from "../../../../../src/kernel/dataplane/resources/filter.ts";

interface Run {
  readonly family: Family;
  readonly text: string;
  end(status: number, stderr?: string): void;
}

/** A tool that ends when a test says so. */
class HeldTool extends IptablesTool {
  readonly runs: Run[] = [];
  readonly pieces: (readonly string[])[] = [];
  override found() {
    return Promise.resolve({ variant: "nft", version: "1.8.9", modern: true } as const);
  }
  override restore(family: Family, script: string | Script) {
    const pieces = typeof script === "string" ? [script] : [...script.pieces()];
    const text = pieces.join("");
    this.pieces.push(pieces);
    return new Promise<Awaited<ReturnType<IptablesTool["restore"]>>>((resolve) => {
      const end = (status: number, stderr = "") => resolve({ status, stdout: "", stderr });
      this.runs.push({ family, text, end });
    });
  }
  override save() {
    return Promise.resolve("");
  }
}

const chain = (family: Family, name: string, jumpsTo?: string): Chain => ({
  family,
  table: "filter",
  name,
  rules: jumpsTo === undefined ? [] : [{ matches: [], target: { kind: "jump", chain: jumpsTo } }],
});

function opened() {
  const tool = new HeldTool();
  const state = new IptablesState(tool);
  const table = chainTable(state, new IptablesWatch(state), { name: "firewall", protocol: 0 });
  return { tool, table };
}

async function runs(tool: HeldTool, count: number): Promise<readonly Run[]> {
  while (tool.runs.length < count) await Bun.sleep(1);
  return tool.runs;
}

describe("chains by iptables", () => {
  test("of both families are written at a time", async () => {
    const { tool, table } = opened();
    const ops = ([4, 6] as const).map((family) => ({
      verb: "create" as const,
      item: chain(family, "KUBE-NWPLCY-A"),
    }));
    const applied = table.apply(ops);
    const both = await runs(tool, 2);
    expect(both.map(({ family }) => family)).toEqual([4, 6]);
    for (const run of both) run.end(0);
    expect(await applied).toEqual(ops.map((op) => ({ op })));
  });

  test("of one family that Linux refuses cost only themselves", async () => {
    const { tool, table } = opened();
    const ops = ([4, 6] as const).map((family) => ({
      verb: "create" as const,
      item: chain(family, "KUBE-NWPLCY-A", "KUBE-NWPLCY-B"),
    }));
    const applied = table.apply(ops);
    const [four, six] = await runs(tool, 2);
    four?.end(0);
    six?.end(1);
    // Again alone, and at last without its rules: others jump to it.
    (await runs(tool, 3))[2]?.end(1);
    (await runs(tool, 4))[3]?.end(0);
    const outcomes = await applied;
    expect(outcomes.map(({ error }) => error?.code)).toEqual([undefined, "EINVAL"]);
    expect(tool.runs.slice(2).map(({ family }) => family)).toEqual([6, 6]);
  });

  test("are not tried one by one while another tool holds the lock", async () => {
    const { tool, table } = opened();
    const ops = ["A", "B", "C"].map((name) => ({
      verb: "create" as const,
      item: chain(4, `KUBE-NWPLCY-${name}`),
    }));
    const applied = table.apply(ops);
    (await runs(tool, 1))[0]?.end(4, "Another app is currently holding the xtables lock.");
    const outcomes = await applied;
    expect(outcomes.map(({ error }) => error?.code)).toEqual(["EAGAIN", "EAGAIN", "EAGAIN"]);
    expect(outcomes.map(({ made }) => made)).toEqual([undefined, undefined, undefined]);
    expect(tool.runs).toHaveLength(1);
  });

  test("are declared before all rules, the last name first", async () => {
    const { tool, table } = opened();
    const applied = table.apply(["B", "A", "C"].map((name) => ({
      verb: "create" as const,
      item: chain(4, `KUBE-NWPLCY-${name}`, "KUBE-NWPLCY-A"),
    })));
    const [run] = await runs(tool, 1);
    run?.end(0);
    await applied;
    const words = run?.text.split("\n").map((line) => line.split(" ").slice(0, 2).join(" "));
    expect(words).toEqual([
      "*filter",
      ":KUBE-NWPLCY-C -",
      ":KUBE-NWPLCY-B -",
      ":KUBE-NWPLCY-A -",
      "-A KUBE-NWPLCY-B",
      "-A KUBE-NWPLCY-A",
      "-A KUBE-NWPLCY-C",
      "COMMIT",
      "",
    ]);
  });

  test("that are many are said in pieces that make up the same text", async () => {
    const { tool, table } = opened();
    const names = Array.from({ length: 1_000 }, (_, i) => `KUBE-NWPLCY-${i}`);
    const applied = table.apply(([4, 6] as const).flatMap((family) =>
      names.map((name) => ({
        verb: "create" as const,
        item: chain(family, name, "KUBE-NWPLCY-0"),
      }))
    ));
    for (const run of await runs(tool, 2)) run.end(0);
    await applied;
    const [pieces = []] = tool.pieces;
    expect(pieces.length).toBeGreaterThan(1);
    const lines = tool.runs[0]?.text.split("\n") ?? [];
    const declared = names.map((name) => `:${name} - [0:0]`).toSorted().toReversed();
    expect(lines[0]).toBe("*filter");
    expect(lines.slice(1, 1_001)).toEqual(declared);
    expect(lines.slice(1_001, 2_001).map((line) => line.split(" ")[1])).toEqual(names);
    expect(lines.slice(2_001)).toEqual(["COMMIT", ""]);
  });
});

describe("a tool that is told something in pieces", () => {
  test("reads them in their order", async () => {
    const pieces = Array.from({ length: 50 }, (_, i) => `${`${i} `.repeat(3_000)}\n`);
    const { status, stdout } = await new IptablesTool().run(["cat"], pieces);
    expect({ status, same: stdout === pieces.join("") }).toEqual({ status: 0, same: true });
  });

  test("may end before it has read them", async () => {
    const pieces = Array.from({ length: 50 }, () => "word ".repeat(20_000));
    const { status, stderr } = await new IptablesTool().run(
      ["sh", "-c", "echo fault >&2; exit 3"],
      pieces,
    );
    expect({ status, stderr }).toEqual({ status: 3, stderr: "fault\n" });
  });

  test("is ended where the next one cannot be made", async () => {
    const pieces = function* (): Iterable<string> {
      yield "one\n";
      throw new Error("no more");
    };
    await expect(new IptablesTool().run(["cat"], pieces())).rejects.toThrow("no more");
  });
});

describe("the tool", () => {
  test("that ends before it has read its input says what it says", async () => {
    const tool = new IptablesTool();
    const argv = ["sh", "-c", "echo 'line 3 failed' >&2; exit 2"];
    const runs = await Promise.all(
      [1, 2, 3, 4].map(() => tool.run(argv, "x".repeat(4_000_000))),
    );
    expect(runs).toEqual(runs.map(() => ({ status: 2, stdout: "", stderr: "line 3 failed\n" })));
  });
});
