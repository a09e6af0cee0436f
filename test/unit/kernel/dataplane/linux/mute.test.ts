import { describe, expect, test } from "bun:test";
import { filterProgram } from "../../../../../src/kernel/dataplane/linux/mute.ts";

/** What the program returns for a datagram from this sender, as Linux runs it: 0 drops. */
function run(program: Uint8Array<ArrayBuffer>, sender: number): number {
  const view = new DataView(program.buffer);
  const datagram = new DataView(new ArrayBuffer(16));
  datagram.setUint32(12, sender, true);
  let word = 0;
  for (let at = 0;; at += 8) {
    const k = view.getUint32(at + 4, true);
    switch (view.getUint16(at, true)) {
      case 0x20:
        word = datagram.getUint32(k, false);
        break;
      case 0x15:
        at += 8 * view.getUint8(at + (word === k ? 2 : 3));
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`no such instruction at ${at}`);
    }
  }
}

describe("a socket that some senders are kept from", () => {
  test("hears all others", () => {
    const program = filterProgram([7, 300, 4_194_303, 0x80000001]);
    for (const sender of [7, 300, 4_194_303, 0x80000001]) expect(run(program, sender)).toBe(0);
    for (const sender of [0, 6, 8, 44, 301, 0x07000000]) {
      expect(run(program, sender)).toBe(0xffffffff);
    }
  });

  test("hears everybody where there are none, and of very many the last ones count", () => {
    expect(run(filterProgram([]), 5)).toBe(0xffffffff);
    const many = filterProgram(Array.from({ length: 400 }, (_, i) => i + 1));
    expect([1, 150, 151, 400, 401].map((sender) => run(many, sender) === 0)).toEqual([
      ...[false, false, true, true, false],
    ]);
  });
});
