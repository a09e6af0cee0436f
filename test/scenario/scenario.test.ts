/** Every `*.txt` beside this file is a scenario, and is run once for each order in which its events may come. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { parseScenario, runScenario, VARIANTS } from "./runner.ts";

const names = readdirSync(import.meta.dir).filter((name) => name.endsWith(".txt")).toSorted();

for (const name of names) {
  const text = readFileSync(`${import.meta.dir}/${name}`, "utf8");
  describe(name.replace(/\.txt$/, ""), () => {
    test.each([...VARIANTS])("%s", async (variant) => {
      expect(parseScenario(text).filter(({ words }) => words[0] === "expect").length)
        .toBeGreaterThan(0);
      await runScenario(text, variant);
    });
  });
}

describe("the runner itself", () => {
  const broken = [
    ["an expectation that does not hold", "start\nexpect linux link\n  link other type dummy up"],
    ["a status that is another", "put node node1\nstart\nexpect status degraded"],
    ["a command that it does not know", "frobnicate"],
    ["an object of no kind", "put pod a/b {}\nstart"],
    ["an expectation before the start", "expect status ready"],
  ] as const;
  for (const [what, text] of broken) {
    test(`fails on ${what}, and names the line`, () => {
      expect(runScenario(text, "as written")).rejects.toThrow(/^Line \d+: /);
    });
  }
});
