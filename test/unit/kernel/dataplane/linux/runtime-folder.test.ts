import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLedger } from "../../../../../src/kernel/dataplane/linux/ledger.ts";
import { tidyRuntimeFolder } from "../../../../../src/kernel/dataplane/linux/runtime-folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "routelet-run-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ledger = (kind: string, options = {}) => openLedger(folder, "proxy", kind, options);

test("files that say nothing go, and the folder with them", () => {
  const spent = ledger("ipvs");
  spent.add(["tcp 10.0.0.1:80"]);
  spent.remove(["tcp 10.0.0.1:80"]);
  spent.close();
  ledger("sysctl", { bootId: "an earlier one" }).add(["net/x"]);
  for (const name of ["agent.sock", "plugins.json", "plugins.json.new", "proxy.ipvs.ledger.tmp"]) {
    writeFileSync(join(folder, name), "");
  }
  tidyRuntimeFolder(folder);
  expect(existsSync(folder)).toBe(false);
});

test("marks that still hold stay, those of another network namespace too, and others' files", () => {
  ledger("ipvs").add(["tcp 10.0.0.1:80"]);
  writeFileSync(join(folder, "a.note"), "");
  writeFileSync(join(folder, "firewall.sysctl.ledger"), "what is this\n");
  const other = `{"ledger":1,"boot":${JSON.stringify(boot())},"netns":1}\n`;
  writeFileSync(join(folder, "router.fou.ledger"), other);
  expect(tidyRuntimeFolder(folder)).toEqual([]);
  expect(readdirSync(folder).toSorted())
    .toEqual(["a.note", "firewall.sysctl.ledger", "proxy.ipvs.ledger", "router.fou.ledger"]);
});

test("a folder that is not there is no error", () => {
  expect(tidyRuntimeFolder(join(folder, "none"))).toEqual([]);
});

function boot(): string {
  ledger("boot").add(["x"]);
  const text = Bun.spawnSync(["cat", join(folder, "proxy.boot.ledger")]).stdout.toString();
  rmSync(join(folder, "proxy.boot.ledger"));
  return (JSON.parse(text.split("\n")[0] ?? "") as { readonly boot: string }).boot;
}
