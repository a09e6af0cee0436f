import { describe, expect, test } from "bun:test";
import { chainTable, IptablesState } from "../../../../../src/kernel/dataplane/linux/iptables.ts";
import { IptablesTool } from "../../../../../src/kernel/dataplane/linux/iptables-tool.ts";
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
  override found() {
    return Promise.resolve({ variant: "nft", version: "1.8.9", modern: true } as const);
  }
  override restore(family: Family, text: string) {
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
