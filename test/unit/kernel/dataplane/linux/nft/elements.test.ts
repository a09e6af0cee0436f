import { describe, expect, test } from "bun:test";
import {
  bookKey,
  entryText,
  parseEntry,
  readBookKey,
} from "../../../../../../src/kernel/dataplane/linux/nft/elements.ts";
import type { IpSet } from "../../../../../../src/kernel/dataplane/resources/ipset.ts";

const ENTRIES: readonly (readonly [IpSet["type"], 4 | 6, string])[] = [
  ["hash:ip", 4, "10.0.0.1"],
  ["hash:ip", 6, "fd00::1"],
  ["hash:net", 4, "10.0.0.0/8"],
  ["hash:net", 4, "10.0.0.1"],
  ["hash:net", 6, "8000::/1"],
  ["hash:ip,port", 4, "10.0.0.1,sctp:65535"],
  ["hash:ip,port", 6, "fd00::1,udp:53"],
  ["hash:ip,port,ip", 6, "fd00::1,tcp:80,fd00::2"],
  ["hash:ip,port,net", 4, "10.0.0.1,tcp:80,192.168.0.0/24"],
  ["hash:ip,port,net", 4, "10.0.0.1,132:80,192.168.0.7".replace("132", "sctp")],
];

describe("a member", () => {
  for (const [type, family, entry] of ENTRIES) {
    test(`of ${type}, "${entry}", is the same there and back`, () => {
      const parsed = parseEntry({ type, family }, entry);
      expect(parsed === undefined ? "" : entryText({ type, family }, parsed.key, parsed.prefix))
        .toBe(entry);
    });
  }

  const bad: readonly (readonly [IpSet["type"], 4 | 6, string])[] = [
    ["hash:ip", 4, "fd00::1"],
    ["hash:ip", 6, "10.0.0.1"],
    ["hash:ip", 4, "10.0.0.0/8"],
    ["hash:ip", 4, ""],
    ["hash:net", 4, "10.0.0.0/33"],
    ["hash:net", 4, "10.0.0.0/"],
    ["hash:ip,port", 4, "10.0.0.1"],
    ["hash:ip,port", 4, "10.0.0.1,tcp:65536"],
    ["hash:ip,port", 4, "10.0.0.1,tcp:"],
    ["hash:ip,port", 4, "10.0.0.1,nope:80"],
    ["hash:ip,port", 4, "10.0.0.1,80"],
    ["hash:ip,port,ip", 4, "10.0.0.1,tcp:80,10.0.0.0/8"],
    ["hash:ip,port,net", 4, "10.0.0.1,tcp:80,fd00::/8"],
  ];
  for (const [type, family, entry] of bad) {
    test(`of ${type} for IPv${family} is never "${entry}"`, () => {
      expect(parseEntry({ type, family }, entry)).toBeUndefined();
    });
  }

  test("stands in the book with the length of its prefix and whether it is an exception", () => {
    const set: IpSet = { name: "n", type: "hash:net", family: 4 };
    const { key, prefix } = parseEntry(set, "10.0.0.0/8") ?? { key: new Uint8Array(), prefix: 0 };
    expect(readBookKey(set, bookKey(key, prefix, true))).toEqual({
      set: "n",
      entry: "10.0.0.0/8",
      nomatch: true,
    });
    expect(readBookKey(set, bookKey(key, prefix, false))).toEqual({
      set: "n",
      entry: "10.0.0.0/8",
    });
  });

  test("loses the bits behind its prefix, as in ipset", () => {
    const { key } = parseEntry({ type: "hash:net", family: 4 }, "10.1.2.3/8") ??
      { key: new Uint8Array() };
    expect([...key]).toEqual([10, 0, 0, 0]);
  });
});
