import { expect, test } from "bun:test";
import { AttributeTable } from "../../../../../../src/plugins/router/bgp/rib/attributes.ts";
import { BlockStore } from "../../../../../../src/plugins/router/bgp/rib/blocks.ts";
import { EMPTY } from "../../../../../../src/plugins/router/bgp/wire/attributes.ts";
import { random, seeds } from "../../../../../support/random.ts";

test.each(seeds(6))(
  "blocks are found by their bytes and kind, whatever came and went (seed %i)",
  (seed) => {
    const dice = random(seed);
    const store = new BlockStore();
    const model = new Map<string, number>();
    const free: number[] = [];
    let last = 0;
    for (let step = 0; step < 5000; step++) {
      const kind = dice.below(3);
      const from = dice.below(5);
      const bytes = Uint8Array.from(
        { length: from + 1 + dice.below(seed % 2 === 0 ? 3 : 400) },
        () => dice.below(seed % 2 === 0 ? 8 : 2),
      );
      const key = `${kind} ${bytes.slice(from).join()}`;
      const known = model.get(key);
      expect(store.find(kind, bytes, from, bytes.length)).toBe(known ?? 0);
      if (known === undefined) {
        const id = free.pop() ?? ++last;
        store.add(id, kind, bytes, from, bytes.length);
        model.set(key, id);
      }
      if (dice.below(2) === 0) {
        const [gone, id] = dice.pick([...model]);
        store.remove(id);
        model.delete(gone);
        free.push(id);
      }
    }
    for (const [key, id] of model) {
      const mine = store.bytes.slice(store.start(id), store.end(id));
      expect(`${store.kind(id)} ${mine.join()}`).toBe(key);
    }
  },
);

test("a set that was forgotten takes nothing of the next one with its number", () => {
  const table = new AttributeTable();
  const block = Uint8Array.of(0x40, 1, 1, 2);
  const first = table.put(1, block, 0, 4, { ...EMPTY, origin: 2 });
  table.setVerdict(first.id, 7, true);
  table.drop(first);
  const second = table.add("own", { ...EMPTY, origin: 1 });
  expect(second.id).toBe(first.id);
  expect(table.verdict(second.id, 7)).toBe(-1);
  expect(table.at(second.id)?.origin).toBe(1);
  expect(table.find(1, block, 0, 4)).toBeUndefined();
  expect(table.key(second.id)).toBe("own");
});

test("more sets than stay objects are read again from their bytes", () => {
  const table = new AttributeTable();
  const ids = Array.from({ length: 10_000 }, (_, i) => {
    const block = Uint8Array.of(0x80, 4, 4, 0, 0, i >> 8, i & 255);
    return table.put(1, block, 0, block.length, { ...EMPTY, med: i }).id;
  });
  expect(ids.map((id) => table.at(id)?.med)).toEqual(ids.map((_, i) => i));
  for (const id of ids) table.dropId(id);
  expect(table.size).toBe(0);
});
