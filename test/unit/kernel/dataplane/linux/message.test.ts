import { expect, test } from "bun:test";
import { errnoName, kernelError } from "../../../../../src/kernel/dataplane/linux/errno.ts";
import {
  MessageReader,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLMSG_ERROR,
} from "../../../../../src/kernel/dataplane/linux/message.ts";
import { mutate, random, randomBytes } from "./random.ts";

function reader(bytes: Uint8Array): MessageReader {
  const r = new MessageReader(bytes);
  r.load(bytes.length);
  return r;
}

test("messages follow each other in one buffer, each with its header", () => {
  const w = new MessageWriter();
  w.sequence = 7;
  w.begin(16, NLM_F_CREATE);
  w.rawU8(2);
  w.pad();
  w.u32(1, 5);
  w.end();
  const second = w.position;
  w.sequence = 8;
  w.begin(17);
  w.end();
  w.addFlags(second, NLM_F_ACK);
  expect(w.bytes.slice(0, w.position).toHex()).toBe(
    "1c000000" + "1000" + "0104" + "07000000" + "00000000" + "02000000" + "08000100" + "05000000" +
      "10000000" + "1100" + "0500" + "08000000" + "00000000",
  );
  const r = reader(w.bytes.slice(0, w.position));
  expect(r.next()).toBe(true);
  expect([r.type, r.flags, r.sequence, r.u8(0)]).toEqual([16, 0x401, 7, 2]);
  const a = r.attributes(1);
  expect(a.next()).toBe(true);
  expect(a.u32()).toBe(5);
  expect(r.next()).toBe(true);
  expect([r.type, r.flags, r.sequence]).toEqual([17, 5, 8]);
  expect(r.next()).toBe(false);
  expect(r.error).toBeUndefined();
});

// An answer of Linux 6.1 to a link with a bad name, with NETLINK_EXT_ACK and NETLINK_CAP_ACK.
function answer(flags: number, code: number, tail: string): Uint8Array {
  const w = new MessageWriter(512);
  w.sequence = 1;
  w.begin(NLMSG_ERROR);
  w.rawI32(code);
  w.rawBytes(Uint8Array.fromHex("20000000" + "1000" + "0500" + "01000000" + "00000000"));
  w.rawBytes(Uint8Array.fromHex(tail));
  w.end();
  w.view.setUint16(6, flags, true);
  return w.bytes.slice(0, w.position);
}

const TEXT = "0b000100" + "6e6f206d6f00" + "0000" + "08000200" + "18000000";

test("a refusal carries the text and the offset of the extended ack", () => {
  const capped = reader(answer(0x300, -22, TEXT));
  capped.next();
  expect(capped.refusal()).toEqual({ errno: 22, text: "no mo", offset: 24 });
  // Without the cap the refused message (32 bytes) comes first.
  const whole = reader(answer(0x200, -22, "ffffffffffffffffffffffffffffffff" + TEXT));
  whole.next();
  expect(whole.refusal()).toEqual({ errno: 22, text: "no mo", offset: 24 });
  const plain = reader(answer(0, -17, ""));
  plain.next();
  expect(plain.refusal()).toEqual({ errno: 17 });
  const ack = reader(answer(0x100, 0, ""));
  ack.next();
  expect(ack.refusal()).toBeUndefined();
});

test("an error names operation, object, errno, text and offset", () => {
  const error = kernelError("create link", { errno: 22, text: "no mo", offset: 24 }, {
    object: "kube-dummy-if",
    remedy: "load dummy",
  });
  expect(error.message).toBe(
    'Cannot create link "kube-dummy-if": EINVAL (no mo, attribute at offset 24); load dummy',
  );
  expect(error.detail).toBe("no mo, attribute at offset 24");
});

test("error numbers have the names of Linux", () => {
  const names = [1, 2, 3, 17, 19, 22, 34, 35, 95, 98, 99, 101, 105, 110, 111, 113, 132, 524, 999];
  expect(names.map(errnoName)).toEqual([
    "EPERM",
    "ENOENT",
    "ESRCH",
    "EEXIST",
    "ENODEV",
    "EINVAL",
    "ERANGE",
    "EDEADLK",
    "EOPNOTSUPP",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "ENETUNREACH",
    "ENOBUFS",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "EHOSTUNREACH",
    "ERFKILL",
    "ENOTSUPP",
    "errno 999",
  ]);
});

test("fields past the end read as 0 and are an error", () => {
  const r = reader(answer(0, -17, ""));
  r.next();
  expect(r.u32(1000)).toBe(0);
  expect(r.error).toContain("bytes of payload");
});

test("garbage is read to an end without throwing or leaving the datagram", () => {
  const next = random(2);
  const valid = [answer(0x300, -22, TEXT), answer(0x200, -22, "00".repeat(16) + TEXT)];
  for (let round = 0; round < 20_000; round++) {
    const template = valid[round % 3];
    const bytes = template === undefined
      ? randomBytes(next, Math.floor(next() * 100))
      : mutate(next, template);
    const r = reader(bytes);
    let count = 0;
    while (r.next()) {
      expect(++count).toBeLessThanOrEqual(bytes.length);
      expect(r.end).toBeLessThanOrEqual(bytes.length);
      r.refusal();
      r.u32(8);
      r.u16be(2);
      const a = r.attributes(Math.floor(next() * 40));
      while (a.next()) expect(a.start + a.length).toBeLessThanOrEqual(r.end);
    }
  }
});
