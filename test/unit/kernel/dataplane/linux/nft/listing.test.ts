/** What is read of nf_tables' lists; over garbage it may give nothing or anything well formed, and never throws. */

import { expect, test } from "bun:test";
import { MessageReader } from "../../../../../../src/kernel/dataplane/linux/message.ts";
import {
  concernsUs,
  eventSet,
  readChain,
  readElements,
  readRule,
  readSet,
  readTable,
} from "../../../../../../src/kernel/dataplane/linux/nft/listing.ts";
import {
  writeChain,
  writeElements,
  writeRule,
  writeSet,
  writeTable,
} from "../../../../../../src/kernel/dataplane/linux/nft/messages.ts";
import { keyType } from "../../../../../../src/kernel/dataplane/linux/nft/elements.ts";
import { renderRule } from "../../../../../../src/kernel/dataplane/linux/nft/rules.ts";
import { reader, written } from "../../../../../wire/meaning.ts";
import { mutate, random } from "../random.ts";

const [expressions = []] = renderRule(4, {
  matches: [{ kind: "set", set: "s", directions: ["src"] }],
  target: { kind: "jump", chain: "KUBE-X" },
}, (name) => name);
const rule = written((w) =>
  writeRule(w, {
    family: 4,
    chain: "INPUT",
    expressions,
    data: { comment: "why", mark: "proxy:1" },
  })
);
const key = keyType({ type: "hash:ip", family: 4 });
const set = written((w) => writeSet(w, { family: 6, name: "s", key, comment: "said" }, 1));
const elements = written((w) =>
  writeElements(w, "add", { family: 4, name: "s" }, [new Uint8Array([10, 0, 0, 1])])
);
const whole = () => true;

test("what we write reads back", () => {
  expect(readRule(reader(rule), whole)).toMatchObject({
    chain: "INPUT",
    comment: "why",
    mark: "proxy:1",
    target: "KUBE-X",
    sets: ["s"],
  });
  expect(readRule(reader(rule), () => false)).toMatchObject({ mark: "proxy:1", sets: [] });
  expect(readSet(reader(set))).toEqual({ name: "s", comment: "said" });
  expect(readElements(reader(elements))).toEqual([
    { key: new Uint8Array([10, 0, 0, 1]), end: undefined, closes: false, mark: undefined },
  ]);
  expect(eventSet(reader(elements))).toBe("s");
  expect(readTable(reader(written((w) => writeTable(w, 4))))).toEqual({ ours: true, use: 0 });
  expect(readChain(reader(written((w) => writeChain(w, 4, "KUBE-Y"))))).toEqual({
    name: "KUBE-Y",
    use: 0,
  });
});

const DECODERS = [
  ["rules", rule, (message: MessageReader) => readRule(message, whole)],
  ["sets", set, readSet],
  ["elements", elements, readElements],
  ["chains", written((w) => writeChain(w, 4, "INPUT")), readChain],
  ["tables", written((w) => writeTable(w, 4)), readTable],
  [
    "events",
    elements,
    (message: MessageReader) => concernsUs(message) ? eventSet(message) : undefined,
  ],
] as const;

for (const [name, good, decode] of DECODERS) {
  test(`the decoder of ${name} takes any bytes`, () => {
    const next = random(name.length);
    let decoded = 0;
    for (let i = 0; i < 5000; i++) {
      const bytes = mutate(next, good);
      const message = new MessageReader(bytes);
      message.load(bytes.length);
      while (message.next()) if (decode(message) !== undefined) decoded++;
    }
    expect(decoded).toBeGreaterThan(0);
  });
}
