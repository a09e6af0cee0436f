import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ledger, openLedger } from "../../../../../src/kernel/dataplane/linux/ledger.ts";
import { sysctlTable } from "../../../../../src/kernel/dataplane/linux/sysctl.ts";
import { described, type Drift, type Op } from "../../../../../src/kernel/dataplane/resource.ts";
import type { Sysctl } from "../../../../../src/kernel/dataplane/resources/sysctl.ts";

const owner = { name: "proxy", protocol: 201 };
let folder: string;
const ledgers: Ledger[] = [];

function open() {
  return sysctlTable({
    root: join(folder, "sys"),
    periodMs: 1,
    ledger: () => {
      const ledger = openLedger(join(folder, "run"), owner.name, "sysctl");
      ledgers.push(ledger);
      return ledger;
    },
  }, owner);
}
const file = () => join(folder, "sys/net/x");
const value = () => readFileSync(file(), "utf8").trim();
const create = (item: Sysctl): Op<Sysctl> => ({ verb: "create", item });
const remove = (item: Sysctl): Op<Sysctl> => ({ verb: "delete", item });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "routelet-sysctl-"));
  mkdirSync(join(folder, "sys/net"), { recursive: true });
  writeFileSync(file(), "0\n");
});
afterEach(() => {
  for (const ledger of ledgers.splice(0)) ledger.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("a sysctl", () => {
  const item: Sysctl = { path: "net/x", value: "1" };

  test("gets its old value back, whoever asks and however often it was changed", async () => {
    await open().apply([create(item)]);
    await open().apply([{ verb: "update", item: { ...item, value: "2" }, have: item }]);
    expect(value()).toBe("2");
    await open().apply([remove(item)]);
    expect(value()).toBe("0");
    expect(await open().list()).toEqual([]);
  });

  test("is marked before it is written: after a death between the two it is ours and unchanged", async () => {
    await open().apply([create(item)]);
    writeFileSync(file(), "0\n");
    expect(await open().list()).toEqual([
      { item: { path: "net/x", value: "0", was: "0" }, owned: true },
    ]);
  });

  test("of two owners gets its old value back from the last, in whatever order they come and go", async () => {
    for (const order of [[0, 1], [1, 0]] as const) {
      const both = new Set<Ledger>();
      const tables = ["proxy", "firewall"].map((name) =>
        sysctlTable({
          root: join(folder, "sys"),
          ledgers: both,
          ledger: () => {
            const ledger = openLedger(join(folder, "run"), name, "sysctl");
            ledgers.push(ledger);
            return ledger;
          },
        }, { name, protocol: 201 })
      );
      for (const table of tables) await table.apply([create(item)]);
      await tables[order[0]]?.apply([remove(item)]);
      expect([value(), (await tables[order[1]]?.list())?.length]).toEqual(["1", 1]);
      await tables[order[1]]?.apply([remove(item)]);
      expect(value()).toBe("0");
    }
  });

  test("says what it goes back to, where that is known", async () => {
    await open().apply([create(item)]);
    const [have] = await open().list();
    if (have === undefined) throw new Error("not listed");
    const removal = (sysctl: Sysctl) => described(open().resource, remove(sysctl));
    expect(removal(have.item)).toBe("sysctl net/x = 1 (back to 0)");
    expect(removal({ ...have.item, was: "1" })).toBe("sysctl net/x = 1 (as before)");
    expect(removal(item)).toBe("sysctl net/x = 1 (back to its value of before)");
    expect(described(open().resource, create(item))).toBe("sysctl net/x = 1");
  });

  test("that this Linux lacks is a note, and no plan asks for it again", async () => {
    const absent: Sysctl = { path: "net/y", value: "1" };
    const [outcome] = await open().apply([create(absent)]);
    expect(outcome?.error).toBeUndefined();
    expect(outcome?.note).toBe("this Linux has no such sysctl");
    expect(await open().list()).toEqual([{ item: { ...absent, was: "1" }, owned: true }]);
    writeFileSync(join(folder, "sys/net/y"), "0\n");
    expect((await open().list())[0]?.item.value).toBe("0");
  });

  test("to be changed from one value only is left alone at another, and never restored", async () => {
    const careful: Sysctl = { ...item, value: "2", onlyFrom: "1" };
    const [outcome] = await open().apply([create(careful)]);
    expect(outcome?.note).toBe('left at "0": only "1" is changed');
    const [have] = await open().list();
    expect(have !== undefined && open().resource.equal(careful, have.item)).toBe(true);
    writeFileSync(file(), "7\n");
    await open().apply([remove(careful)]);
    expect(value()).toBe("7");
  });

  test("is changed when the value to change from appears later", async () => {
    const careful: Sysctl = { ...item, value: "2", onlyFrom: "1" };
    await open().apply([create(careful)]);
    writeFileSync(file(), "1\n");
    await open().apply([{ verb: "update", item: careful, have: careful }]);
    expect(value()).toBe("2");
    await open().apply([remove(careful)]);
    expect(value()).toBe("1");
  });

  test("of several columns is compared without their tabs", async () => {
    writeFileSync(file(), "4096\t87380\t6291456\n");
    await open().apply([create({ path: "net/x", value: "4096 87380 6291456" })]);
    expect((await open().list())[0]?.item.value).toBe("4096 87380 6291456");
  });

  test("that cannot be written is an error that names it", async () => {
    mkdirSync(join(folder, "sys/net/folder"));
    const [outcome] = await open().apply([create({ path: "net/folder", value: "1" })]);
    expect(outcome?.error?.message).toStartWith('Cannot create sysctl "net/folder": EISDIR');
  });

  /** What a table reports whose owner believes in `items`, once `path` is among it. */
  async function drift(table: ReturnType<typeof open>, items: readonly Sysctl[], path: string) {
    const actual = new Map(items.map((each) => [each.path, { item: each, owned: true }]));
    let stop: (() => void) | undefined;
    const changes = await new Promise<readonly Drift<Sysctl>[]>((resolve) => {
      stop = table.watch?.({
        actual,
        drift(found) {
          if (found !== "unknown" && found.some(({ key }) => key === path)) resolve(found);
        },
      });
    });
    stop?.();
    return changes;
  }

  test("that somebody changes is noticed, and others are not read", async () => {
    const table = open();
    for (const name of ["y", "z"]) writeFileSync(join(folder, "sys/net", name), "0\n");
    const other: Sysctl = { path: "net/y", value: "1" };
    await table.apply([create(item), create(other)]);
    writeFileSync(file(), "5\n");
    writeFileSync(join(folder, "sys/net/z"), "5\n");
    expect(await drift(table, [item, other], "net/x")).toEqual([
      { key: "net/x", actual: { item: { path: "net/x", value: "5" }, owned: true } },
    ]);
  });

  test("that is missing, or was left as it is on purpose, is no drift", async () => {
    const table = open();
    const careful: Sysctl = { path: "net/z", value: "2", onlyFrom: "1" };
    writeFileSync(join(folder, "sys/net/z"), "0\n");
    const absent: Sysctl = { path: "net/absent", value: "1" };
    await table.apply([create(item), create(absent), create(careful)]);
    writeFileSync(file(), "5\n");
    const changes = await drift(table, [absent, careful, item], "net/x");
    expect(changes.map(({ key }) => key)).toEqual(["net/x"]);
  });

  test("outside of /proc/sys is refused", () => {
    for (const path of ["/etc/passwd", "net/../../etc/passwd"]) {
      expect(open().refuse?.({ path, value: "1" })).toBe(`"${path}" is no path below /proc/sys`);
    }
  });
});
