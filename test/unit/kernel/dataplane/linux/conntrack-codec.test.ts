/** ctnetlink messages against those of conntrack 1.4.7 (`conntrack -D`, `conntrack -L`, captured with strace) on Linux 6.18. */

import { describe, expect, test } from "bun:test";
import {
  readAnyFlow,
  readFlow,
  type UdpFlow,
  writeFlowDelete,
  writeFlowMark,
  writeFlowQuery,
} from "../../../../../src/kernel/dataplane/linux/conntrack-codec.ts";
import { MessageReader } from "../../../../../src/kernel/dataplane/linux/message.ts";
import { meaning, reader, written } from "../../../../wire/meaning.ts";
import { mutate, random } from "./random.ts";

/** `conntrack -D -p udp --orig-src 127.0.0.1 --orig-dst 127.0.0.1 --sport 4444 --dport 5353` */
const DELETE = Uint8Array.fromHex(
  "9400000002010500e177026b0000000002000000340001801400018008000100" +
    "7f000001080002007f0000011c00028005000100110000000600020011" +
    "5c00000600030014e90000340002801400018008000100" +
    "7f000001080002007f0000011c0002800500010011000000" +
    "0600020014e9000006000300115c000008000300000000080800070000" +
    "00001d0800080000000000",
);
/** Linux's answer to `conntrack -L`, one flow of each family. */
const FLOWS = Uint8Array.fromHex(
  "a400000000010200e177026b5935000002000000340001801400018008000100" +
    "7f000001080002007f0000011c0002800500010011000000060002001" +
    "15c00000600030014e9000034000280140001800800010" +
    "07f000001080002007f0000011c0002800500010011000000" +
    "0600020014e9000006000300115c0000080003000000000808000800" +
    "0000000008000c00277729df08000b00000000010800070" +
    "00000001d" +
    "d400000000010200e177026b593500000a0000004c0001802c00018014000300" +
    "0000000000000000000000000000000114000400" +
    "000000000000000000000000000000011c0002800500010011000000060002001" +
    "15c00000600030014e900004c0002802c00018014000300" +
    "0000000000000000000000000000000114000400" +
    "000000000000000000000000000000011c00028005000100110000000600020014e9" +
    "000006000300115c000008000300000000080800080000000000" +
    "08000c008f11256808000b00000000010800" +
    "07000000001d",
);
const FOUR: UdpFlow = {
  family: 4,
  source: { address: "127.0.0.1", port: 4444 },
  destination: { address: "127.0.0.1", port: 5353 },
  answers: { address: "127.0.0.1", port: 5353 },
  id: 0x277729df,
  zone: 0,
};
const SIX: UdpFlow = {
  family: 6,
  source: { address: "::1", port: 4444 },
  destination: { address: "::1", port: 5353 },
  answers: { address: "::1", port: 5353 },
  id: 0x8f112568,
  zone: 0,
};

describe("flows of any protocol", () => {
  test("are read with their mark where an end is wanted", () => {
    const read = (wanted: (address: string) => boolean) => {
      const message = new MessageReader(FLOWS);
      message.load(FLOWS.length);
      const found = [];
      while (message.next()) found.push(readAnyFlow(message, wanted));
      return found.filter((flow) => flow !== undefined);
    };
    expect(read((address) => address === "127.0.0.1")).toEqual([
      {
        family: 4,
        protocol: 17,
        source: { address: "127.0.0.1", port: 4444 },
        destination: { address: "127.0.0.1", port: 5353 },
        answers: { address: "127.0.0.1", port: 5353 },
        mark: 0,
        zone: 0,
      },
    ]);
    expect(read(() => false)).toEqual([]);
    expect(read(() => true)).toHaveLength(2);
  });

  test("are marked under a mask, and not made where they are gone", () => {
    const { id: _, ...flow } = FOUR;
    const bytes = written((w) =>
      writeFlowMark(w, { ...flow, protocol: 6, mark: 0 }, 0x100000, 0x100000)
    );
    const text = Buffer.from(bytes).toString("hex");
    // CTA_MARK and CTA_MARK_MASK, big-endian; type IPCTNL_MSG_CT_NEW without NLM_F_CREATE (0x400).
    expect(text).toContain("0800080000100000");
    expect(text).toContain("0800150000100000");
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect([view.getUint16(4, true), view.getUint16(6, true) & 0x400]).toEqual([0x100, 0]);
  });
});

describe("flows", () => {
  test("are read as Linux tells of them", () => {
    const message = new MessageReader(FLOWS);
    message.load(FLOWS.length);
    const flows: (UdpFlow | undefined)[] = [];
    while (message.next()) flows.push(readFlow(message, () => true));
    expect(message.error).toBeUndefined();
    expect(flows).toEqual([FOUR, SIX]);
  });

  test("that nobody asked for are passed over", () => {
    const asked: string[] = [];
    const found = readFlow(reader(FLOWS), (address, port) => {
      asked.push(`${address} ${port}`);
      return false;
    });
    expect([found, asked]).toEqual([undefined, ["127.0.0.1 5353"]]);
  });

  test("of other protocols are no UDP flows", () => {
    const tcp = FLOWS.slice();
    for (let i = 0; i + 5 < tcp.length; i++) {
      // CTA_PROTO_NUM: length 5, type 1, the number.
      if (tcp[i] === 5 && tcp[i + 2] === 1 && tcp[i + 4] === 17) tcp[i + 4] = 6;
    }
    expect(readFlow(reader(tcp), () => true)).toBeUndefined();
  });

  test("are deleted by the same tuple as conntrack names, and by their id", () => {
    const ours = meaning(written((w) => writeFlowDelete(w, FOUR)), 4);
    const theirs = meaning(DELETE, 4);
    const tuple = (all: Record<string, string>) =>
      Object.entries(all).filter(([name]) => /^(type|head|1(\.|$))/.test(name)).toSorted();
    expect(tuple(ours)).toEqual(tuple(theirs));
    expect(ours["c"] ?? ours["12"]).toBe("277729df");
  });

  test("of a zone are deleted in it", () => {
    const without = written((w) => writeFlowDelete(w, SIX)).length;
    expect(written((w) => writeFlowDelete(w, { ...SIX, zone: 7 })).length).toBe(without + 8);
  });

  test("are asked for by family and protocol", () => {
    const said = meaning(written((w) => writeFlowQuery(w, 6)), 4);
    expect(said["head"]).toBe("0a000000");
    expect(Object.values(said)).toContain("08000000");
  });

  test("take any bytes", () => {
    const next = random(9);
    let decoded = 0;
    for (let i = 0; i < 5000; i++) {
      const bytes = mutate(next, FLOWS);
      const message = new MessageReader(bytes);
      message.load(bytes.length);
      while (message.next()) if (readFlow(message, () => true) !== undefined) decoded++;
    }
    expect(decoded).toBeGreaterThan(0);
  });
});
