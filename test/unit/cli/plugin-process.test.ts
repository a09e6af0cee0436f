import { afterAll, beforeAll, expect, test } from "bun:test";
import { linkSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runningFile } from "../../../src/cli/plugin-process.ts";

let folder = "";
beforeAll(() => folder = mkdtempSync(join(tmpdir(), "routelet-running-")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a plugin's process is of the release that the agent runs, after an upgrade too", () => {
  const [path, running, fresh] = ["routelet", "exe", "fresh"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(path, "old");
  linkSync(path, running);
  expect(runningFile(path, running)).toBe(path);
  writeFileSync(fresh, "new");
  renameSync(fresh, path);
  expect(runningFile(path, running)).toBe(running);
  rmSync(path);
  expect(runningFile(path, running)).toBe(running);
  expect(runningFile(path, join(folder, "no-proc"))).toBe(path);
});
