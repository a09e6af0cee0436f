import { describe, expect, test } from "bun:test";
import { COMMUNITY_NAMES, parseCommunity } from "../../../../src/plugins/router/communities.ts";
import {
  decodeBase64,
  decodePassword,
  isPeerAsn,
  MAX_UINT32,
  parseUint,
} from "../../../../src/plugins/router/numbers.ts";

test("numbers are read as Go literals", () => {
  const cases: readonly (readonly [text: string, value: number | undefined])[] = [
    ["65000", 65000],
    ["0", 0],
    ["0xfde8", 65000],
    ["0XFDE8", 65000],
    ["0o17", 15],
    ["017", 15],
    ["0b101", 5],
    ["4_200_000_000", 4200000000],
    ["4294967295", 4294967295],
    ["4294967296", undefined],
    ["1.10", undefined],
    ["", undefined],
    ["-1", undefined],
    [" 1", undefined],
    ["0x", undefined],
    ["09", undefined],
    ["12a", undefined],
    ["_1", undefined],
    ["1_", undefined],
  ];
  for (const [text, value] of cases) {
    expect([text, parseUint(text, MAX_UINT32)]).toEqual([text, value]);
  }
});

test("reserved AS numbers are none for a peer", () => {
  const allowed = [1, 23455, 23457, 63999, 64512, 65534, 131072, 4294967294];
  const reserved = [0, 23456, 64000, 64511, 65535, 131071, 4294967295];
  expect(allowed.filter(isPeerAsn)).toEqual(allowed);
  expect(reserved.filter(isPeerAsn)).toEqual([]);
});

describe("passwords", () => {
  const text = (bytes: Uint8Array | undefined) =>
    bytes === undefined ? undefined : new TextDecoder().decode(bytes);

  test("are standard base64 with padding", () => {
    expect(text(decodeBase64("c2VjcmV0"))).toBe("secret");
    expect(text(decodeBase64("aGk="))).toBe("hi");
    expect(text(decodeBase64("aG\r\nk="))).toBe("hi");
    for (const bad of ["aGk", "a-k=", "secret!", "====", "a"]) {
      expect(decodeBase64(bad)).toBeUndefined();
    }
  });

  test("may be missing, and what is wrong with one never shows it", () => {
    expect(decodePassword("")).toEqual({});
    const { key, problem } = decodePassword("topsecret!");
    expect(key).toBeUndefined();
    expect(problem).not.toContain("topsecret");
    expect(decodePassword(btoa("x".repeat(81))).problem).toContain("81 bytes");
  });

  test("keep a line end that was encoded, with a warning", () => {
    const { key, problem } = decodePassword(btoa("secret\n"));
    expect(text(key)).toBe("secret\n");
    expect(problem).toContain("ends with a line end");
  });
});

test("communities are numbers, pairs and well-known names", () => {
  const cases: readonly (readonly [text: string, value: number | undefined])[] = [
    ["4294967041", 0xffffff01],
    ["4294967295", 0xffffffff],
    ["65535:65281", 0xffffff01],
    ["65535:65535", 0xffffffff],
    ["65000:1", 65000 * 65536 + 1],
    ["no-export", 0xffffff01],
    ["internet", 0],
    ["planned-shut", 0xffff0000],
    ["accept-own", 0xffff0001],
    ["blackhole", 0xffff029a],
    ["no-advertise", 0xffffff02],
    ["no-peer", 0xffffff04],
    ["4294967296", undefined],
    ["65536:65535", undefined],
    ["65535:65536", undefined],
    ["65536:65536", undefined],
    ["0xFFFFFFFF", undefined],
    ["community", undefined],
    ["No-Export", undefined],
    ["toString", undefined],
    [" 1:1", undefined],
  ];
  for (const [text, value] of cases) expect([text, parseCommunity(text)]).toEqual([text, value]);
  expect(COMMUNITY_NAMES).toHaveLength(14);
});
