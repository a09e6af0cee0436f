import { describe, expect, test } from "bun:test";
import { parseEntry } from "../../../../../../src/kernel/dataplane/linux/nft/elements.ts";
import {
  following,
  type Network,
  preceding,
  rangesOf,
} from "../../../../../../src/kernel/dataplane/linux/nft/intervals.ts";
import { random } from "../../../../../support/random.ts";

const nets = { type: "hash:net", family: 4 } as const;

function networks(...texts: readonly string[]): readonly Network[] {
  return texts.map((text) => {
    const parsed = parseEntry(nets, text.replace("!", ""));
    if (parsed === undefined) throw new Error(text);
    return { ...parsed, nomatch: text.startsWith("!") };
  });
}

const words = (key: Uint8Array) => key.join(".");
const shown = (...texts: readonly string[]) =>
  rangesOf(networks(...texts), 4).map(({ from, to }) => `${words(from)}-${words(to)}`);

describe("rangesOf()", () => {
  test("leaves networks apart as they are, even side by side", () => {
    expect(shown("10.0.1.0/24", "10.0.0.0/24", "10.0.2.7"))
      .toEqual(["10.0.0.0-10.0.0.255", "10.0.1.0-10.0.1.255", "10.0.2.7-10.0.2.7"]);
  });

  test("takes networks inside others for part of them", () => {
    expect(shown("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24")).toEqual(["10.0.0.0-10.255.255.255"]);
  });

  test("cuts exceptions out, and puts back what they except themselves", () => {
    expect(shown("10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "!10.1.2.3")).toEqual([
      "10.0.0.0-10.0.255.255",
      "10.1.2.0-10.1.2.2",
      "10.1.2.4-10.1.2.255",
      "10.2.0.0-10.255.255.255",
    ]);
  });

  test("takes an exception of nothing for nothing", () => {
    expect(shown("!10.0.0.0/8", "10.1.0.0/16", "!11.0.0.0/8"))
      .toEqual(["10.1.0.0-10.1.255.255"]);
  });

  test("reaches both ends of the addresses", () => {
    expect(shown("0.0.0.0/1", "128.0.0.0/1", "!255.255.255.255", "!0.0.0.0"))
      .toEqual(["0.0.0.1-127.255.255.255", "128.0.0.0-255.255.255.254"]);
  });

  test("keeps keys before the network apart", () => {
    const set = { type: "hash:ip,port,net", family: 4 } as const;
    const of = (text: string) => ({
      ...(parseEntry(set, text) ?? { key: new Uint8Array(), prefix: 0 }),
      nomatch: false,
    });
    expect(rangesOf(
      [
        of("10.0.0.1,tcp:80,10.0.0.0/8"),
        of("10.0.0.1,tcp:81,10.0.0.0/8"),
        of("10.0.0.1,tcp:80,10.9.0.0/16"),
      ],
      4,
    )).toHaveLength(2);
  });

  test("holds what the longest prefix says, for any networks", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const dice = random(seed);
      const texts = new Map<string, string>();
      for (let i = dice.below(12); i >= 0; i--) {
        // A few bits, so that they meet.
        const prefix = 24 + dice.below(9);
        const last = dice.below(16) * 16 >> (32 - prefix) << (32 - prefix);
        const text = `10.0.0.${last}/${prefix}`;
        texts.set(text, dice.below(3) === 0 ? `!${text}` : text);
      }
      const all = networks(...texts.values());
      const ranges = rangesOf(all, 4);
      for (let last = 0; last < 256; last++) {
        const key = new Uint8Array([10, 0, 0, last]);
        const best = all.filter(({ key: from, prefix }) =>
          (from[3] ?? 0) === (last >> (32 - prefix) << (32 - prefix))
        )
          .toSorted((a, b) =>
            b.prefix - a.prefix
          )[0];
        const wanted = best !== undefined && !best.nomatch;
        const got = ranges.filter(({ from, to }) =>
          from.toHex() <= key.toHex() && key.toHex() <= to.toHex()
        );
        expect([seed, last, got.length]).toEqual([seed, last, wanted ? 1 : 0]);
      }
    }
  });
});

test("following() and preceding() carry over bytes and end at the ends", () => {
  expect(following(new Uint8Array([1, 255]))).toEqual(new Uint8Array([2, 0]));
  expect(following(new Uint8Array([255, 255]))).toBeUndefined();
  expect(preceding(new Uint8Array([2, 0]))).toEqual(new Uint8Array([1, 255]));
  expect(preceding(new Uint8Array([0, 0]))).toBeUndefined();
});
