import { afterAll, expect, test } from "bun:test";
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KernelError } from "../../../../../src/kernel/dataplane/errors.ts";
import { openLedger, parseLedger } from "../../../../../src/kernel/dataplane/linux/ledger.ts";

const root = mkdtempSync(join(tmpdir(), "ledger-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let counter = 0;
function directory(): string {
  return join(root, `${counter++}`, "run");
}

test("marks survive the process", () => {
  const dir = directory();
  const first = openLedger(dir, "proxy", "ipvs");
  first.add([["tcp 10.0.0.1:80"], ["udp [fd00::1]:53"]]);
  first.remove(["tcp 10.0.0.1:80"]);
  const second = openLedger(dir, "proxy", "ipvs");
  expect([...second.keys()]).toEqual(["udp [fd00::1]:53"]);
  expect(second.size).toBe(1);
});

test("the first value of a key stays: it is the one before our first change", () => {
  const dir = directory();
  const ledger = openLedger(dir, "proxy", "sysctl");
  ledger.add([["net/ipv4/ip_forward", "0"]]);
  ledger.add([["net/ipv4/ip_forward", "1"]]);
  expect(ledger.get("net/ipv4/ip_forward")).toBe("0");
  expect(openLedger(dir, "proxy", "sysctl").get("net/ipv4/ip_forward")).toBe("0");
  ledger.remove(["net/ipv4/ip_forward"]);
  ledger.add([["net/ipv4/ip_forward", "1"]]);
  expect(openLedger(dir, "proxy", "sysctl").get("net/ipv4/ip_forward")).toBe("1");
});

test("values with line breaks and quotes come back as they were", () => {
  const dir = directory();
  openLedger(dir, "proxy", "sysctl").add([["a\nb", 'x\t"\n']]);
  expect(openLedger(dir, "proxy", "sysctl").get("a\nb")).toBe('x\t"\n');
});

test("reading writes nothing", () => {
  const dir = directory();
  const ledger = openLedger(dir, "proxy", "ipvs");
  ledger.remove(["none"]);
  expect(() => readFileSync(join(dir, "proxy.ipvs.ledger"))).toThrow("ENOENT");
});

test("owners and kinds have ledgers of their own", () => {
  const dir = directory();
  openLedger(dir, "proxy", "ipvs").add([["a"]]);
  expect(openLedger(dir, "router", "ipvs").size).toBe(0);
  expect(openLedger(dir, "proxy", "sysctl").size).toBe(0);
});

test("a ledger of another boot counts as empty and is replaced at the first mark", () => {
  const dir = directory();
  openLedger(dir, "proxy", "ipvs", { bootId: "one" }).add([["old"]]);
  const ledger = openLedger(dir, "proxy", "ipvs", { bootId: "two" });
  expect(ledger.has("old")).toBe(false);
  ledger.add([["new"]]);
  expect([...openLedger(dir, "proxy", "ipvs", { bootId: "two" }).keys()]).toEqual(["new"]);
});

test("every cut of the file is read as the whole lines before it, and can be continued", () => {
  const dir = directory();
  const path = join(dir, "proxy.ipvs.ledger");
  openLedger(dir, "proxy", "ipvs").add([["key-1"], ["key-2"], ["key-3"]]);
  const whole = readFileSync(path);
  const header = whole.indexOf(10) + 1;
  for (let size = whole.length - 1; size >= header; size--) {
    writeFileSync(path, whole);
    truncateSync(path, size);
    const kept = whole.subarray(0, size).toString().split("\n").length - 2;
    const ledger = openLedger(dir, "proxy", "ipvs");
    expect(ledger.size).toBe(kept);
    ledger.add([["after"]]);
    expect([...openLedger(dir, "proxy", "ipvs").keys()].at(-1)).toBe("after");
    expect(openLedger(dir, "proxy", "ipvs").size).toBe(kept + 1);
  }
});

test("lines that do not parse are skipped", () => {
  const dir = directory();
  const path = join(dir, "proxy.ipvs.ledger");
  openLedger(dir, "proxy", "ipvs").add([["a"]]);
  appendFileSync(path, 'nonsense\n["?","b"]\n["+",7]\n{}\n["+","c"]\n');
  expect([...openLedger(dir, "proxy", "ipvs").keys()]).toEqual(["a", "c"]);
});

test("the file is written anew when most of it says nothing any more", () => {
  const dir = directory();
  const ledger = openLedger(dir, "proxy", "ipvs");
  for (let round = 0; round < 5; round++) {
    const keys = Array.from({ length: 1000 }, (_, i) => `key-${i}`);
    ledger.add(keys.map((key) => [key] as const));
    ledger.remove(keys);
  }
  ledger.add([["last"]]);
  const text = readFileSync(join(dir, "proxy.ipvs.ledger"), "utf8");
  expect(text.split("\n").length).toBeLessThan(3000);
  expect([...openLedger(dir, "proxy", "ipvs").keys()]).toEqual(["last"]);
});

test("a file that another process replaced is written again with all marks", () => {
  const dir = directory();
  const path = join(dir, "proxy.ipvs.ledger");
  const ledger = openLedger(dir, "proxy", "ipvs");
  ledger.add([["a"]]);
  rmSync(path);
  ledger.add([["b"]]);
  expect([...openLedger(dir, "proxy", "ipvs").keys()]).toEqual(["a", "b"]);
});

test("a directory that cannot be written is named, with the remedy", () => {
  const dir = directory();
  openLedger(join(dir, ".."), "x", "y").add([["a"]]);
  writeFileSync(dir, "a file where the directory should be");
  const attempt = () => {
    const ledger = openLedger(dir, "proxy", "ipvs");
    ledger.add([["a"]]);
  };
  expect(attempt).toThrow(KernelError);
  expect(attempt).toThrow(`"${join(dir, "proxy.ipvs.ledger")}"`);
});

test("parseLedger() refuses a text without the header", () => {
  expect(parseLedger("", "h")).toBeUndefined();
  expect(parseLedger("h", "h")).toBeUndefined();
  expect(parseLedger("h\n", "h")?.entries.size).toBe(0);
  expect(parseLedger("h\n", "h")?.torn).toBe(false);
});

test("a ledger that cannot be used as it is is told of, with what follows", () => {
  const dir = directory();
  const path = join(dir, "proxy.ipvs.ledger");
  const told: string[] = [];
  const open = () =>
    openLedger(dir, "proxy", "ipvs", {
      bootId: "one",
      warn: (message, fields) => {
        const { path: named, reason, remedy } = fields as Readonly<Record<string, string>>;
        expect([message, named]).toEqual(["Ownership ledger cannot be used as it is", path]);
        expect(remedy).toContain("conflict");
        told.push(reason ?? "");
      },
    });
  open().add([["a"], ["b"]]);
  const whole = readFileSync(path, "utf8");
  expect(open().size).toBe(2);
  expect(told).toEqual([]);
  const texts = [
    "",
    "\u0000\u0001 garbage",
    whole.replace('"boot":"one"', '"boot":"two"'),
    whole.replace('["+","a"]', "nonsense"),
    whole.slice(0, -3),
  ];
  const sizes = texts.map((text) => {
    writeFileSync(path, text);
    return open().size;
  });
  expect(sizes).toEqual([0, 0, 0, 1, 1]);
  expect(told).toEqual([
    "it lost its content",
    "it is damaged and counts as empty: its first line is not a ledger's",
    "it is of another boot, or of another network namespace, and counts as empty",
    "1 of its lines cannot be read",
    "it ends in the middle of a line",
  ]);
});
