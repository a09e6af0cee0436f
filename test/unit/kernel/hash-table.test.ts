import { describe, expect, test } from "bun:test";
import { HashTable } from "../../../src/kernel/hash-table.ts";

interface Named {
  readonly name: string;
}

function table(): HashTable<Named> {
  return new HashTable<Named>(({ name }) => name);
}

describe("a table of values that know their texts", () => {
  test("finds what was added, and nothing else", () => {
    const t = table();
    const web = { name: "web" };
    expect(t.add("web", web)).toBe(true);
    expect(t.get("web")).toBe(web);
    expect(t.get("db")).toBeUndefined();
    expect(t.size).toBe(1);
  });

  test("holds one value of a text, the last", () => {
    const t = table();
    const second = { name: "web" };
    t.add("web", { name: "web" });
    expect(t.add("web", second)).toBe(false);
    expect(t.get("web")).toBe(second);
    expect(t.size).toBe(1);
  });

  test("says whether there was anything to delete", () => {
    const t = table();
    t.add("web", { name: "web" });
    expect(t.delete("db")).toBe(false);
    expect(t.delete("web")).toBe(true);
    expect(t.delete("web")).toBe(false);
    expect([...t.values()]).toEqual([]);
  });

  test("holds the same as a map after any changes", () => {
    let seed = 7;
    const random = (below: number) => {
      seed = Math.imul(seed, 1103515245) + 12345 & 0x7fffffff;
      return (seed >>> 8) % below;
    };
    const t = table();
    const map = new Map<string, Named>();
    for (let i = 0; i < 20_000; i++) {
      // Waves: it grows and is nearly emptied, in places that collide.
      const name = `10.0.${random(3)}.${random(200)},tcp:${random(4)}`;
      if (random(10) < (i % 4_000 < 2_000 ? 7 : 2)) {
        const value = { name };
        expect(t.add(name, value)).toBe(!map.has(name));
        map.set(name, value);
      } else expect(t.delete(name)).toBe(map.delete(name));
      if (i % 500 !== 0) continue;
      expect(t.size).toBe(map.size);
      for (const [key, value] of map) expect(t.get(key)).toBe(value);
      expect(new Set(t.values())).toEqual(new Set(map.values()));
    }
  });
});
