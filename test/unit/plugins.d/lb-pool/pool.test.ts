import { describe, expect, test } from "bun:test";
import {
  addressText,
  canonical,
  parseAddress,
  parsePool,
  parseRange,
  rangeOf,
} from "../../../../plugins.d/lb-pool/pool.ts";
import { canonicalIp } from "../../../../src/kernel/ip.ts";
import { random } from "../../../support/random.ts";

describe("an address of the pool", () => {
  test.each([
    ["10.0.0.1", "10.0.0.1"],
    ["010.0.0.001", "10.0.0.1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["FD00::0:1", "fd00::1"],
    ["fd00:0:0:1:0:0:0:1", "fd00:0:0:1::1"],
    ["::", "::"],
    ["fd00:1:2:3:4:5:6:7", "fd00:1:2:3:4:5:6:7"],
  ])("%s is %s", (text, wanted) => expect(canonical(text)).toBe(wanted));

  test.each([
    "",
    "10.0.0",
    "10.0.0.256",
    "10.0.0.1/24",
    "fd00::1::",
    "fd00::1%eth0",
    "web",
    "1:2",
    "]",
  ])(
    "%j is none",
    (text) => expect(canonical(text)).toBeUndefined(),
  );

  test("is written as the rest of the agent writes it", () => {
    const { below } = random(7);
    for (let i = 0; i < 2_000; i++) {
      const groups = Array.from({ length: 8 }, () => below(2) * below(65_536));
      const text = groups.map((group) => group.toString(16)).join(":");
      expect(canonical(text)).toBe(canonicalIp(text));
      const address = parseAddress(text);
      if (address?.family === 6) expect(parseAddress(addressText(address))).toEqual(address);
    }
  });
});

describe("a range", () => {
  test.each([
    ["10.9.0.7/30", "10.9.0.4", "10.9.0.7", ""],
    ["10.9.0.7", "10.9.0.7", "10.9.0.7", ""],
    ["10.9.0.250 - 10.9.1.5", "10.9.0.250", "10.9.1.5", ""],
    ["blue=fd00::/126", "fd00::", "fd00::3", "blue"],
    ["b-1=fd00::9-fd00::a", "fd00::9", "fd00::a", "b-1"],
  ])("%s is from %s to %s of pool %j", (text, first, last, pool) => {
    const range = parseRange(text);
    expect(addressText({ family: range.family, value: range.first })).toBe(first);
    expect(addressText({ family: range.family, value: range.last })).toBe(last);
    expect(range.pool).toBe(pool);
  });

  test.each([
    ["10.9.0.0/33", "its prefix has to be a number up to 32"],
    ["fd00::/x", "its prefix has to be a number up to 128"],
    ["10.9.0.9-10.9.0.1", "it ends before it begins"],
    ["10.9.0.1-fd00::1", "its ends are of two families"],
    ["10.9.0.1-10.9.0.2-10.9.0.3", "it has more than one dash"],
    ["some", '"some" is no address'],
    ["", '"" is no address'],
  ])("%j is refused: %s", (text, reason) => {
    expect(() => parseRange(text)).toThrow(`Range "${text}" cannot be used: ${reason}`);
  });

  test("that has an address of another is refused, with both named", () => {
    expect(() => parsePool(["10.9.0.0/24", "fd00::/64", "x=10.9.0.255-10.9.1.3"])).toThrow(
      'Ranges "10.9.0.0/24" and "10.9.0.255-10.9.1.3" overlap; take the common addresses out of one',
    );
    const ranges = parsePool(["10.9.0.0/24", "10.9.1.0/24"]);
    expect(rangeOf(ranges, "10.9.1.255")?.text).toBe("10.9.1.0/24");
    expect(rangeOf(ranges, "10.9.2.0")).toBeUndefined();
    expect(rangeOf(ranges, "::a09:1")).toBeUndefined();
  });
});
