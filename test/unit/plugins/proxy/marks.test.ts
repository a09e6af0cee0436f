import { describe, expect, test } from "bun:test";
import { fnv1a32, markKey, Marks } from "../../../../src/plugins/proxy/marks.ts";

/** The marks of keys that come one after the other. */
function taken(keys: readonly string[]): readonly (number | undefined)[] {
  const marks = new Marks();
  return keys.map((key) => marks.take(key));
}

describe("marks are those of kube-router", () => {
  const cases = [
    ["1.1.1.1-tcp-8080", 0xf049cce2, 3298],
    ["1.1.1.1-tcp-9090", 0xf49757fa, 6138],
    ["2.2.2.2-tcp-9090", 0xdb89e6d2, 9938],
    ["147.160.180.44-tcp-8080", 0x39177d48, 15688],
    ["147.160.180.44-udp-80", 0xc5883d48, 15688],
    ["203.0.113.10-tcp-80", 0xefac3eb3, 16051],
    ["203.0.113.10-udp-53", 0x55137b27, 15143],
    ["2001:db8::1-tcp-443", 0x6ef663a9, 9129],
  ] as const;
  for (const [key, hash, mark] of cases) {
    test(`${key} is ${mark}`, () => {
      expect(fnv1a32(key)).toBe(hash);
      expect(taken([key])).toEqual([mark]);
    });
  }

  test("with a number appended where the mark is taken", () => {
    const suffixed = ["1.1.1.1-tcp-8080", "2.2.2.2-tcp-9090", "2001:db8::1-tcp-443"];
    expect(suffixed.map((key) => fnv1a32(`${key}-1`) & 0x3fff)).toEqual([16004, 10708, 1607]);
    const [first, second] = ["147.160.180.44-tcp-8080", "147.160.180.44-udp-80"] as const;
    expect(taken([first, second])).toEqual([15688, 842]);
    expect(taken([second, first])).toEqual([15688, 842]);
  });

  test("a key is an address, a protocol and a port", () => {
    const front = { address: "2001:db8::1", protocol: "tcp", port: 443 };
    expect(markKey(front)).toBe("2001:db8::1-tcp-443");
  });
});

describe("marks", () => {
  test("a key that is taken twice has one mark, until both let go of it", () => {
    const marks = new Marks();
    expect(marks.take("a")).toBe(marks.take("a") ?? -1);
    marks.release("a");
    expect(marks.get("a")).toBe(fnv1a32("a") & 0x3fff);
    marks.release("a");
    expect(marks.get("a")).toBeUndefined();
  });

  test("who has one keeps it, and a mark that is free again goes to who comes next", () => {
    const [first, second] = ["147.160.180.44-tcp-8080", "147.160.180.44-udp-80"];
    const marks = new Marks();
    expect([marks.take(second), marks.take(first)]).toEqual([15688, 842]);
    marks.release(second);
    expect(marks.get(first)).toBe(842);
    expect(marks.take(second)).toBe(15688);
  });

  test("0, which means none, is never given", () => {
    const zero = Array.from({ length: 200_000 }, (_, i) => `10.0.0.1-tcp-${i}`)
      .find((key) => (fnv1a32(key) & 0x3fff) === 0);
    if (zero === undefined) throw new Error("No key with the mark 0 was found");
    expect(taken([zero])).toEqual([fnv1a32(`${zero}-1`) & 0x3fff]);
  });

  test("are unique until all 16,383 are taken, and then there is none", () => {
    const marks = taken(Array.from({ length: 16_500 }, (_, i) => `key${i}`))
      .filter((mark) => mark !== undefined);
    expect(marks.length).toBeGreaterThan(16_300);
    expect(new Set(marks).size).toBe(marks.length);
    expect(marks.every((mark) => mark > 0 && mark <= 0x3fff)).toBe(true);
  });
});
