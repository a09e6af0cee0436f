import { expect, test } from "bun:test";
import { addressOf, contains, nth, parseCidr, subnetOf } from "../../../lab/topology/cidr.ts";

test("an address with a prefix length knows its address, its subnet and the subnet's addresses", () => {
  const cidr = parseCidr("192.168.123.250/24");
  expect(addressOf(cidr)).toBe("192.168.123.250");
  expect(subnetOf(cidr)).toBe("192.168.123.0/24");
  expect([nth(cidr, 1), nth(cidr, -2)]).toEqual(["192.168.123.1", "192.168.123.254"]);
  const six = parseCidr("fd00:244:1::10/64");
  expect([subnetOf(six), nth(six, 1), nth(six, 0xfffe)])
    .toEqual(["fd00:244:1::/64", "fd00:244:1::1", "fd00:244:1::fffe"]);
});

test("a subnet contains its own addresses, of its own family", () => {
  const cidr = parseCidr("10.244.1.0/24");
  expect(["10.244.1.255", "10.244.2.0", "fd00::1"].map((address) => contains(cidr, address)))
    .toEqual([true, false, false]);
});

test("texts that are no address with a prefix length are refused", () => {
  for (const text of ["10.0.0.1", "10.0.0.1/33", "10.0.0/24/1", "fd00::/129", "x/24", "/24", ""]) {
    expect(() => parseCidr(text)).toThrow();
  }
});
