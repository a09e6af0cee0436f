import { expect, test } from "bun:test";
import ipaddr from "ipaddr.js";
import { readAddress, writeAddress } from "../../../../../src/kernel/dataplane/linux/inet.ts";
import { random, randomBytes } from "./random.ts";

test("addresses become bytes and canonical text again", () => {
  const bytes = new Uint8Array(16);
  for (
    const [text, canonical] of [
      ["0.0.0.0", "0.0.0.0"],
      ["255.255.255.255", "255.255.255.255"],
      ["::", "::"],
      ["FD00:0:0:0:0:0:0:1", "fd00::1"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ] as const
  ) {
    const length = writeAddress(bytes, 0, text);
    expect(length).toBe(text.includes(":") ? 16 : 4);
    expect(readAddress(bytes, 0, length)).toBe(canonical);
  }
});

test("what is no address writes nothing", () => {
  const bad = [
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.",
    ".1.2.3",
    "1..2.3",
    "0x1.2.3.4",
    "1.2.3.4 ",
    "-1.2.3.4",
    "1.2.3.0001",
    "1.2.3.01",
    ":",
    "1::2::3",
    "fe80::1%eth0",
    "g::1",
    "10.0.0.0/8",
  ];
  for (const text of bad) {
    const bytes = new Uint8Array(16).fill(9);
    expect([text, writeAddress(bytes, 0, text)]).toEqual([text, 0]);
  }
  expect(writeAddress(new Uint8Array(3), 0, "1.2.3.4")).toBe(0);
  expect(writeAddress(new Uint8Array(15), 0, "::1")).toBe(0);
  expect(readAddress(new Uint8Array(3), 0, 4)).toBe("");
  expect(readAddress(new Uint8Array(8), 0, 8)).toBe("");
});

test("text agrees with ipaddr.js for any bytes", () => {
  const next = random(3);
  for (let i = 0; i < 2000; i++) {
    const bytes = randomBytes(next, i % 2 === 0 ? 4 : 16);
    if (next() < 0.5) bytes.fill(0, Math.floor(next() * 8), Math.floor(next() * 16));
    const text = readAddress(bytes, 0, bytes.length);
    expect(text).toBe(ipaddr.fromByteArray([...bytes]).toString());
    const back = new Uint8Array(16);
    expect(writeAddress(back, 0, text)).toBe(bytes.length as 4 | 16);
    expect(back.subarray(0, bytes.length).toHex()).toBe(bytes.toHex());
  }
});
