import { expect, test } from "bun:test";
import {
  ENGINE_SETTINGS,
  missingSettings,
  restartTuned,
} from "../../../src/cli/engine-settings.ts";

/** What a process with this environment does: what it starts anew with, and what it says. */
function started(env: Readonly<Record<string, string>>, refusal?: string) {
  const restarts: Readonly<Record<string, string>>[] = [];
  let said = "";
  restartTuned({
    env,
    stderr: (text) => said += text,
    restart(more): never {
      if (refusal !== undefined) throw new Error(refusal);
      restarts.push(more);
      return undefined as never;
    },
  });
  return { restarts, said };
}

test("an environment without the settings lacks them all, one with them none", () => {
  expect(missingSettings({ PATH: "/bin" })).toEqual(ENGINE_SETTINGS);
  expect(missingSettings(ENGINE_SETTINGS)).toEqual({});
});

test("the process starts anew with what lacks, and then never again", () => {
  const [more] = started({ PATH: "/bin" }).restarts;
  expect(more).toEqual(ENGINE_SETTINGS);
  expect(started({ PATH: "/bin", ...more }).restarts).toEqual([]);
});

test("a value that somebody gave stays", () => {
  const [more] = started({ BUN_JSC_heapGrowthMaxIncrease: "2" }).restarts;
  expect(more).not.toHaveProperty("BUN_JSC_heapGrowthMaxIncrease");
  expect(more).toHaveProperty("BUN_GC_TIMER_DISABLE", "1");
});

test("where Linux refuses, the agent goes on and says so", () => {
  const { said } = started({}, 'Cannot execute "/routelet": permission denied');
  expect(said).toContain("permission denied");
});
