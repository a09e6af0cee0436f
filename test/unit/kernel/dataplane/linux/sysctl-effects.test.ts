import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openLedger } from "../../../../../src/kernel/dataplane/linux/ledger.ts";
import { sysctlTable } from "../../../../../src/kernel/dataplane/linux/sysctl.ts";
import { sideEffects } from "../../../../../src/kernel/dataplane/linux/sysctl-effects.ts";

const linux = (values: Readonly<Record<string, string>>) => ({
  value: (path: string) => values[path],
  names: (folder: string) =>
    [...new Set(Object.keys(values).filter((path) => path.startsWith(`${folder}/`)))]
      .map((path) => path.slice(folder.length + 1).split("/")[0] ?? ""),
});

test("forwarding is copied to every link: those that had another value are remembered", () => {
  const values = {
    "net/ipv4/conf/all/forwarding": "0",
    "net/ipv4/conf/all/accept_redirects": "1",
    "net/ipv4/conf/default/forwarding": "0",
    "net/ipv4/conf/eth0/forwarding": "1",
    "net/ipv6/conf/eth1/forwarding": "1",
    "net/ipv6/conf/default/disable_ipv6": "0",
  };
  expect(sideEffects("net/ipv4/ip_forward", "0", linux(values)))
    .toEqual({ "net/ipv4/conf/eth0/forwarding": "1" });
  expect(sideEffects("net/ipv6/conf/all/forwarding", "0", linux(values)))
    .toEqual({ "net/ipv6/conf/eth1/forwarding": "1" });
  expect(sideEffects("net/ipv6/conf/all/disable_ipv6", "1", linux(values)))
    .toEqual({ "net/ipv6/conf/default/disable_ipv6": "0" });
});

test("a host that took no redirects takes none afterwards", () => {
  const hardened = { "net/ipv4/conf/all/accept_redirects": "0" };
  expect(sideEffects("net/ipv4/ip_forward", "0", linux(hardened))).toEqual(hardened);
});

test("most sysctls change themselves alone", () => {
  expect(sideEffects("net/ipv4/vs/conntrack", "0", linux({ "net/ipv4/conf/x/forwarding": "1" })))
    .toEqual({});
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "routelet-sysctl-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("what changed along comes back with it, but not to links that are gone", async () => {
  const path = (name: string) => join(folder, "sys/net/ipv4", name);
  const write = (name: string, value: string) => {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), `${value}\n`);
  };
  const read = (name: string) => readFileSync(path(name), "utf8").trim();
  for (const link of ["eth0", "eth1", "eth2"]) write(`conf/${link}/forwarding`, "1");
  write("conf/all/accept_redirects", "0");
  write("ip_forward", "0");
  const table = sysctlTable({
    root: join(folder, "sys"),
    ledger: (owner) => openLedger(join(folder, "run"), owner.name, "sysctl"),
  }, { name: "router", protocol: 202 });
  const item = { path: "net/ipv4/ip_forward", value: "1" };
  await table.apply([{ verb: "create", item }]);
  // What Linux does of itself on the way back.
  write("conf/eth0/forwarding", "0");
  write("conf/all/accept_redirects", "1");
  rmSync(path("conf/eth1"), { recursive: true });
  const [outcome] = await table.apply([{ verb: "delete", item }]);
  expect(outcome?.error).toBeUndefined();
  expect([read("ip_forward"), read("conf/eth0/forwarding"), read("conf/eth2/forwarding")])
    .toEqual(["0", "1", "1"]);
  expect(read("conf/all/accept_redirects")).toBe("0");
});
