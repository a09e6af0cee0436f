import { expect, test } from "bun:test";
import { createBackoff, pause } from "../../../../src/kernel/cluster/backoff.ts";
import { refreshed } from "../../../../src/kernel/cluster/credentials.ts";
import { equal } from "../../../../src/kernel/cluster/equal.ts";
import { createLineSplitter } from "../../../../src/kernel/cluster/lines.ts";
import { hostAddresses } from "../../../../src/kernel/cluster/manifests/host.ts";
import { parseYaml, YamlError } from "../../../../src/kernel/cluster/yaml.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("lines come whole however the bytes are cut", () => {
  const text = "one\n\ntwo ä€😀\r\nthree\n";
  for (let size = 1; size <= text.length + 8; size++) {
    const splitter = createLineSplitter();
    const all = bytes(text);
    const lines: string[] = [];
    for (let at = 0; at < all.length; at += size) {
      lines.push(...splitter.push(all.subarray(at, at + size)));
    }
    expect(lines.map((line) => line.trimEnd())).toEqual(["one", "two ä€😀", "three"]);
    expect(splitter.pending).toBe(0);
  }
});

test("a line that never ends is refused", () => {
  const splitter = createLineSplitter(10);
  splitter.push(bytes("12345678"));
  expect(() => splitter.push(bytes("9012"))).toThrow("Line is longer than 10 bytes");
});

test("pauses double up to the most, with up to half taken off at random", () => {
  const longest = createBackoff({ minMs: 100, maxMs: 30_000, random: () => 0 });
  expect(Array.from({ length: 11 }, () => longest.next())).toEqual([
    100,
    200,
    400,
    800,
    1600,
    3200,
    6400,
    12800,
    25600,
    30000,
    30000,
  ]);
  longest.reset();
  expect([longest.failures, longest.next()]).toEqual([0, 100]);
  const shortest = createBackoff({ minMs: 100, maxMs: 30_000, random: () => 1 });
  expect([shortest.next(), shortest.next()]).toEqual([50, 100]);
});

test("a pause ends at once when it is aborted", async () => {
  const ending = new AbortController();
  const waiting = pause(1_000_000, ending.signal);
  ending.abort();
  await waiting;
  await pause(1_000_000, ending.signal);
  expect(ending.signal.aborted).toBe(true);
});

test.each<[unknown, unknown, boolean]>([
  [{ a: [1, { b: "x" }] }, { a: [1, { b: "x" }] }, true],
  [{ a: 1, resourceVersion: "1" }, { a: 1, resourceVersion: "2" }, true],
  [{ a: 1 }, { a: 1, b: undefined }, true],
  [{ a: 1 }, { a: 1, b: 2 }, false],
  [{ a: 1, b: 2 }, { a: 1 }, false],
  [[1, 2], [1], false],
  [[], {}, false],
  [{}, [], false],
  [null, {}, false],
  [0, false, false],
])("%j and %j are equal: %j", (one, other, same) => {
  expect(equal(one, other, "resourceVersion")).toBe(same);
});

test("what is refreshed is read once for all who ask, and anew when due or refused", async () => {
  let now = 0;
  let reads = 0;
  const held = refreshed(
    () => Promise.resolve({ value: { read: ++reads }, until: now + 10 }),
    () => now,
  );
  const [one, other] = await Promise.all([held.get(), held.get()]);
  expect([one, other, await held.get()]).toEqual([{ read: 1 }, { read: 1 }, { read: 1 }]);
  now = 10;
  const second = await held.get();
  expect(second).toEqual({ read: 2 });
  held.expire(one);
  expect(await held.get()).toBe(second);
  held.expire(second);
  expect(await held.get()).toEqual({ read: 3 });
});

test("what cannot be read anew stays in use, unless it was refused", async () => {
  let now = 0;
  let fails = false;
  const held = refreshed(
    () =>
      fails ? Promise.reject(new Error("Gone")) : Promise.resolve({ value: {}, until: now + 10 }),
    () => now,
  );
  const first = await held.get();
  fails = true;
  now = 10;
  expect(await held.get()).toBe(first);
  held.expire(first);
  expect(await held.get().catch((error: unknown) => error)).toEqual(new Error("Gone"));
});

test("documents know their lines, and empty ones are none", async () => {
  const text =
    "# head\n---\na: 1\n---\n# nothing\n---\n\nb: |\n  --- not a marker\n  x\n--- {c: 3}\n";
  expect(await parseYaml(text)).toEqual([
    { line: 3, value: { a: 1 } },
    { line: 8, value: { b: "--- not a marker\nx\n" } },
    { line: 11, value: { c: 3 } },
  ]);
  expect(await parseYaml("")).toEqual([]);
});

test("times and old words stay texts, merge keys merge", async () => {
  expect(await parseYaml("base: &b {x: 1}\nmine: {<<: *b, y: yes, t: 2026-01-01T00:00:00Z}\n"))
    .toEqual([
      { line: 1, value: { base: { x: 1 }, mine: { x: 1, y: "yes", t: "2026-01-01T00:00:00Z" } } },
    ]);
});

test("a brace may end below its key, as kubectl takes it", async () => {
  expect(await parseYaml("a: 1\n---\nspec: {\n  b: [\n    2,\n  ],\n}\n")).toEqual([
    { line: 1, value: { a: 1 } },
    { line: 3, value: { spec: { b: [2] } } },
  ]);
});

test.each([
  ["a: {\n  b: 1,\n}\n}\n", 4],
  ["a: 1\n---\nb: [1\n", 3],
  ["a: 1\na: 2\n", 2],
  ["a:\n\t- 1\n", 2],
  ["a: *nobody\n", 1],
])("a broken document tells its line: %j", async (text, line) => {
  const error = await parseYaml(text).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(YamlError);
  expect((error as YamlError).line).toBe(line);
});

test("the host's addresses are its own, the primary one first", async () => {
  const link = (...addresses: readonly string[]) =>
    addresses.map((address) => ({ address, internal: address.startsWith("127.") }));
  const links = {
    lo: link("127.0.0.1", "::1"),
    eth0: link("10.0.0.1", "fd00::1", "fe80::1"),
    "br-lan": link("192.168.1.1"),
    "kube-dummy-if": link("10.96.0.1"),
    "kube-bridge": link("10.244.0.1"),
    docker0: link("172.17.0.1"),
    veth12: link("169.254.1.1"),
  };
  const addresses = await hostAddresses(links, ["192.168.1.1", "203.0.113.9"]);
  expect(addresses).toEqual(
    ["192.168.1.1", "10.0.0.1", "fd00::1"].map((address) => ({ type: "InternalIP", address })),
  );
});
