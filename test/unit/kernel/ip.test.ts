import { describe, expect, test } from "bun:test";
import {
  canonicalCidr,
  canonicalIp,
  compareIps,
  contains,
  formatIp,
  hostCidr,
  ipBytes,
  ipFamily,
  ipv4Number,
  ipv4Text,
  isWithin,
  joinHostPort,
  parseCidr,
} from "../../../src/kernel/ip.ts";

describe("canonicalIp()", () => {
  test.each([
    ["10.1.2.3", "10.1.2.3"],
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["010.001.002.003", "10.1.2.3"],
    ["10.0.0.00", "10.0.0.0"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["::ffff:010.001.002.003", "10.1.2.3"],
    ["::FFFF:a01:203", "10.1.2.3"],
    ["0:0:0:0:0:ffff:0a01:0203", "10.1.2.3"],
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0db8::0001", "2001:db8::1"],
    ["fd00:10:96::a", "fd00:10:96::a"],
    ["::1.2.3.4", "::102:304"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])("%s is %s", (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  test.each([
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1..2.3",
    ".1.2.3.4",
    "1.2.3.4.",
    "0x1.2.3.4",
    "1.2.3.-4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4/32",
    "١.2.3.4",
    "fe80::1%eth0",
    ":",
    ":::",
    "1::2::3",
    "12345::",
    "g::",
    "::1.2.3",
    "[::1]",
    "None",
    "a".repeat(1000),
    ":".repeat(1000),
  ])("%j is none", (text) => {
    expect(canonicalIp(text)).toBeUndefined();
    expect(ipFamily(text) ?? 0).toBe(text.includes("/") ? 4 : 0);
    expect(ipBytes(text)).toBeUndefined();
  });
});

describe("parseCidr()", () => {
  test.each([
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["10.1.2.3/32", "10.1.2.3/32"],
    ["10.1.2.3/0", "0.0.0.0/0"],
    ["10.1.2.255/25", "10.1.2.128/25"],
    ["010.001.000.000/016", "10.1.0.0/16"],
    ["fd00::1:2/112", "fd00::1:0/112"],
    ["::/0", "::/0"],
    ["::ffff:10.1.2.3/104", "10.0.0.0/8"],
    ["::ffff:0:0/96", "0.0.0.0/0"],
    ["::ffff:1.2.3.4/64", "::/64"],
  ])("%s is %s", (text, canonical) => {
    expect(canonicalCidr(text)).toBe(canonical);
  });

  test.each([
    "",
    "/",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "x/8",
  ])(
    "%j is none",
    (text) => {
      expect(parseCidr(text)).toBeUndefined();
    },
  );

  test("hostCidr() holds one address", () => {
    expect(hostCidr("10.1.2.3")?.text).toBe("10.1.2.3/32");
    expect(hostCidr("::ffff:10.1.2.3")?.text).toBe("10.1.2.3/32");
    expect(hostCidr("fd00::1")?.text).toBe("fd00::1/128");
    expect(hostCidr("x")).toBeUndefined();
  });
});

test("isWithin() asks each network", () => {
  const networks = ["10.0.0.0/8", "fd00::/64"].flatMap((text) => parseCidr(text) ?? []);
  const given = ["10.1.2.3", "fd00::1", "11.0.0.1", "fd00:0:0:1::1", "web"];
  expect(given.map((ip) => isWithin(networks, ip))).toEqual([true, true, false, false, false]);
  expect(isWithin([], "10.1.2.3")).toBe(false);
});

test("contains() compares within one family, on bits", () => {
  const table: readonly [string, string, boolean][] = [
    ["10.0.0.0/8", "10.255.255.255", true],
    ["10.0.0.0/8", "11.0.0.0", false],
    ["10.0.0.0/8", "::ffff:10.1.1.1", true],
    ["0.0.0.0/0", "255.1.1.1", true],
    ["0.0.0.0/0", "::1", false],
    ["192.168.0.128/25", "192.168.0.127", false],
    ["192.168.0.128/25", "192.168.0.128", true],
    ["128.0.0.0/1", "200.0.0.1", true],
    ["1.2.3.4/32", "1.2.3.4", true],
    ["1.2.3.4/32", "1.2.3.5", false],
    ["fd00::/61", "fd00:0:0:7::1", true],
    ["fd00::/61", "fd00:0:0:8::1", false],
    ["::/0", "fd00::1", true],
    ["::/0", "10.0.0.1", false],
    ["bad", "10.0.0.1", false],
    ["10.0.0.0/8", "bad", false],
  ];
  for (const [cidr, ip, expected] of table) {
    expect([cidr, ip, contains(cidr, ip)]).toEqual([cidr, ip, expected]);
  }
});

test("bytes and text are inverse", () => {
  for (
    const ip of ["0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "fd00::1", "2001:db8::1:0:0:1"]
  ) {
    const bytes = ipBytes(ip) ?? new Uint8Array();
    expect(bytes.length).toBe(ip.includes(":") ? 16 : 4);
    expect(formatIp(bytes)).toBe(ip);
  }
  expect(ipv4Text(ipv4Number("203.0.113.77"))).toBe("203.0.113.77");
  expect(ipBytes("10.1.2.3")).toEqual(Uint8Array.of(10, 1, 2, 3));
});

test("ipFamily() knows addresses and networks", () => {
  const families = ["10.0.0.1", "::1", "::ffff:1.2.3.4", "10.0.0.0/8", "fd00::/8", "x", "x/8"];
  expect(families.map(ipFamily)).toEqual([4, 6, 4, 4, 6, undefined, undefined]);
});

test("compareIps() sorts by family, then by number", () => {
  const sorted = ["9.0.0.1", "10.0.0.1", "10.0.0.10", "::1", "fd00::2", "fd00::10", "junk"];
  expect(sorted.toReversed().toSorted(compareIps)).toEqual(sorted);
});

test("joinHostPort() puts IPv6 into brackets", () => {
  expect(joinHostPort("10.0.0.1", 80)).toBe("10.0.0.1:80");
  expect(joinHostPort("fd00::1", 80)).toBe("[fd00::1]:80");
  expect(joinHostPort("[fd00::1]", 80)).toBe("[fd00::1]:80");
  expect(joinHostPort("", 80)).toBe(":80");
});
