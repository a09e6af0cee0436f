import { expect, test } from "bun:test";
import {
  align4,
  AttributeReader,
  AttributeWriter,
  NLA_F_NESTED,
  NLA_F_NET_BYTEORDER,
} from "../../../../../src/kernel/dataplane/linux/attribute.ts";
import { mutate, random, randomBytes } from "./random.ts";

function written(write: (w: AttributeWriter) => void, capacity = 4096): Uint8Array {
  const w = new AttributeWriter(capacity);
  w.bytes.fill(0xff);
  write(w);
  expect(w.error).toBeUndefined();
  expect(w.overflow).toBe(false);
  return w.bytes.slice(0, w.position);
}

const shapes: readonly (readonly [string, (w: AttributeWriter) => void, string])[] = [
  ["8 bits, padded", (w) => w.u8(1, 0x12), "0500 0100 12000000"],
  ["16 bits, padded", (w) => w.u16(2, 0x1234), "0600 0200 34120000"],
  ["16 bits in network order", (w) => w.u16be(2, 0x1234), "0600 0200 12340000"],
  ["32 bits", (w) => w.u32(3, 0xdeadbeef), "0800 0300 efbeadde"],
  ["32 bits in network order", (w) => w.u32be(3, 0xdeadbeef), "0800 0300 deadbeef"],
  ["negative 32 bits", (w) => w.i32(3, -2), "0800 0300 feffffff"],
  ["64 bits", (w) => w.u64(4, 0x0102030405060708n), "0c00 0400 0807060504030201"],
  ["64 bits in network order", (w) => w.u64(4, 1n, true), "0c00 0400 0000000000000001"],
  ["text with its NUL", (w) => w.string(5, "lo"), "0700 0500 6c6f0000"],
  ["text that fills the padding", (w) => w.string(5, "eth"), "0800 0500 65746800"],
  ["nothing but its presence", (w) => w.flag(6), "0400 0600"],
  [
    "bytes, padded",
    (w) => w.data(7, new Uint8Array([1, 2, 3, 4, 5])),
    "0900 0700 0102030405000000",
  ],
  ["an IPv4 address", (w) => w.address(8, "10.1.2.3"), "0800 0800 0a010203"],
  [
    "an IPv6 address",
    (w) => w.address(8, "fd00::1"),
    "1400 0800 fd000000000000000000000000000001",
  ],
  ["a nest", (w) => w.nested(9, (n) => n.u8(1, 1)), "0c00 0980 0500010001000000"],
  ["an empty nest", (w) => w.nested(9, () => {}), "0400 0980"],
  ["a flag bit in the type", (w) => w.u16be(1 | NLA_F_NET_BYTEORDER, 80), "0600 0140 00500000"],
  ["room to fill in", (w) => void w.zeroes(3, 6), "0a00 0300 0000000000000000"],
];

for (const [name, write, hex] of shapes) {
  test(`an attribute of ${name} has the bytes of libnl`, () => {
    expect(written(write).toHex()).toBe(hex.replaceAll(" ", ""));
  });
}

test("what was written is read back", () => {
  const bytes = written((w) => {
    w.u8(1, 255);
    w.u16(2, 65535);
    w.u16be(3, 80);
    w.u32(4, 0xffffffff);
    w.u32be(5, 0x0a000001);
    w.i32(6, -1);
    w.u64(7, 2n ** 52n);
    w.string(8, "kube-dummy-if");
    w.string(9, "é");
    w.nested(10, (n) => n.nested(1, (m) => m.u8(2, 7)));
    w.address(11, "2001:db8::1");
  });
  const seen: unknown[] = [];
  const a = new AttributeReader(bytes);
  const read: Record<number, () => unknown> = {
    1: () => a.u8(),
    2: () => a.u16(),
    3: () => a.u16be(),
    4: () => a.u32(),
    5: () => a.u32be(),
    6: () => a.i32(),
    7: () => a.u64(),
    8: () => a.string(),
    9: () => a.string(),
    11: () => a.address(),
  };
  while (a.next()) {
    if (a.type === 10) {
      a.nested((n) => {
        while (n.next()) {
          n.nested((m) => {
            while (m.next()) seen.push(m.u8());
          });
        }
      });
    } else seen.push(read[a.type]?.());
  }
  expect(a.error).toBeUndefined();
  expect(seen).toEqual([
    255,
    65535,
    80,
    0xffffffff,
    0x0a000001,
    -1,
    2 ** 52,
    "kube-dummy-if",
    "é",
    7,
    "2001:db8::1",
  ]);
});

test("the writer keeps its first error", () => {
  const w = new AttributeWriter(4096);
  w.u16(1, 65536);
  w.u8(1, -1);
  expect(w.error).toBe("65536 is not an unsigned 16-bit number");
  w.reset();
  expect(w.error).toBeUndefined();
});

const refused: readonly (readonly [string, (w: AttributeWriter) => void])[] = [
  ["256 as 8 bits", (w) => w.u8(1, 256)],
  ["a fraction", (w) => w.u32(1, 1.5)],
  ["NaN", (w) => w.u32(1, NaN)],
  ["2^32", (w) => w.u32be(1, 2 ** 32)],
  ["no address", (w) => w.address(1, "10.0.0")],
  ["an address with a zone", (w) => w.address(1, "fe80::1%eth0")],
  ["an attribute of 64 KiB", (w) => w.data(1, new Uint8Array(65532))],
  [
    "a nest of 64 KiB",
    (w) =>
      w.nested(1, (n) => {
        n.data(1, new Uint8Array(40000));
        n.data(2, new Uint8Array(40000));
      }),
  ],
];

for (const [name, write] of refused) {
  test(`the writer refuses ${name}`, () => {
    const w = new AttributeWriter(200_000);
    write(w);
    expect(w.error).toBeString();
  });
}

test("a full buffer is said, and never written past", () => {
  for (let capacity = 0; capacity < 64; capacity++) {
    const w = new AttributeWriter(capacity);
    w.nested(1, (n) => {
      n.u32(1, 1);
      n.string(2, "some text");
      n.address(3, "fd00::1");
    });
    expect(w.overflow).toBe(capacity < 4 + 8 + 16 + 20);
    expect(w.position).toBeLessThanOrEqual(capacity);
  }
});

test("a value shorter than asked for is an error and reads as 0", () => {
  const a = new AttributeReader(written((w) => w.u8(1, 7)));
  expect(a.next()).toBe(true);
  expect(a.u32()).toBe(0);
  expect(a.error).toBe("Attribute 1 has 1 bytes instead of 4");
});

test("an error in a nest is an error of the whole", () => {
  const a = new AttributeReader(Uint8Array.fromHex("0c000180ff00010001000000"));
  a.next();
  a.nested((n) => expect(n.next()).toBe(false));
  expect(a.error).toContain("length 255");
});

test("garbage is read to an end without throwing or leaving the buffer", () => {
  const next = random(1);
  const valid = written((w) => {
    w.nested(1, (n) => {
      n.string(1, "text");
      n.address(2, "fd00::1");
      n.u64(3, 1n);
    });
    w.u16be(2, 80);
    w.string(3, "more");
  });
  for (let round = 0; round < 20_000; round++) {
    const body = round % 2 === 0 ? mutate(next, valid) : randomBytes(next, Math.floor(next() * 80));
    // Marked bytes around the body: a read outside it would show.
    const framed = new Uint8Array(body.length + 32).fill(0xee);
    framed.set(body, 16);
    walk(new AttributeReader(framed, 16, 16 + body.length), 16, 16 + body.length, 0);
  }
});

function walk(a: AttributeReader, start: number, end: number, depth: number): void {
  let count = 0;
  while (a.next()) {
    expect(++count).toBeLessThanOrEqual(end - start);
    expect(a.start).toBeGreaterThanOrEqual(start);
    expect(a.start + a.length).toBeLessThanOrEqual(end);
    a.u8();
    a.u16be();
    a.u32();
    a.u64();
    expect(a.string().length).toBeLessThanOrEqual(a.length);
    a.address();
    expect(a.data().length).toBe(a.length);
    const [from, to] = [a.start, a.start + a.length];
    if (depth < 4) a.nested((inner) => walk(inner, from, to, depth + 1));
  }
}

test("align4() rounds up", () => {
  expect([0, 1, 3, 4, 5].map(align4)).toEqual([0, 4, 4, 4, 8]);
  expect(NLA_F_NESTED).toBe(0x8000);
});
