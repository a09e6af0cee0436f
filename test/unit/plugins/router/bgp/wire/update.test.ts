import { describe, expect, test } from "bun:test";
import { AttributeTable } from "../../../../../../src/plugins/router/bgp/rib/attributes.ts";
import { PrefixTable } from "../../../../../../src/plugins/router/bgp/rib/prefixes.ts";
import {
  type Attributes,
  EMPTY,
  pathText,
} from "../../../../../../src/plugins/router/bgp/wire/attributes.ts";
import { Writer } from "../../../../../../src/plugins/router/bgp/wire/bytes.ts";
import {
  encodeAttributes,
  encodeEndOfRib,
  putAnnouncements,
  putWithdrawals,
} from "../../../../../../src/plugins/router/bgp/wire/encode.ts";
import { Framer } from "../../../../../../src/plugins/router/bgp/wire/framer.ts";
import {
  parsePrefix,
  type PrefixBatch,
} from "../../../../../../src/plugins/router/bgp/wire/prefix.ts";
import {
  type UpdateContext,
  UpdateDecoder,
} from "../../../../../../src/plugins/router/bgp/wire/update.ts";
import { bgpError, bytes, frameOf, updateBody } from "../../../../../support/bgp-wire.ts";

const EXTERNAL: UpdateContext = {
  fourOctetAs: true,
  external: true,
  extendedNextHop: true,
  families: [4, 6],
};
const INTERNAL = { ...EXTERNAL, external: false };
const OLD = { ...EXTERNAL, fourOctetAs: false };

const ORIGIN = "400101 00";
const AS_PATH = "400206 0201 0000fde9";
const NEXT_HOP = "400304 c6120102";
const GOOD = `${ORIGIN} ${AS_PATH} ${NEXT_HOP}`;
const NLRI = "18 0a0100";
const MP_REACH = "800e1b 0002 01 10 fd000001000000000000000000000002 00 30 fd0100010000"
  .replace("800e1b", "800e1c");
const MP_UNREACH = "800f0a 0002 01 30 fd0100010000";

function decode(body: Uint8Array, context: UpdateContext = EXTERNAL) {
  const update = new UpdateDecoder(context, new AttributeTable()).decode(frameOf(body, 2));
  return {
    withdrawn: texts(update.withdrawn),
    announced: texts(update.announced.map(({ batch }) => batch)),
    rejected: texts(update.rejected),
    issues: update.issues.map(({ cost, message }) => `${cost}: ${message}`),
    attributes: update.announced.map(({ attributes }) => attributes),
    endOfRib: update.endOfRib,
  };
}

function texts(batches: readonly PrefixBatch[]): string[] {
  return batches.flatMap((batch) => Array.from({ length: batch.count }, (_, i) => batch.text(i)));
}

describe("an UPDATE in order", () => {
  test("announces, withdraws, and does both for both families at once", () => {
    const update = decode(updateBody(`${MP_REACH} ${GOOD} ${MP_UNREACH}`, NLRI, "08 0b"));
    expect(update).toMatchObject({
      withdrawn: ["11.0.0.0/8", "fd01:1::/48"],
      announced: ["10.1.0.0/24", "fd01:1::/48"],
      issues: [],
    });
    expect(update.attributes.map(({ nextHop }) => nextHop.length)).toEqual([4, 16]);
  });

  test.each([
    ["0.0.0.0/0", "00", "0.0.0.0/0"],
    ["a host", "20 0a010203", "10.1.2.3/32"],
    ["bits beyond the length", "09 0aff", "10.128.0.0/9"],
  ])("reads %s", (_what, nlri, text) => {
    expect(decode(updateBody(GOOD, nlri)).announced).toEqual([text]);
  });

  test("leaves out prefixes that nobody can route to", () => {
    expect(decode(updateBody(GOOD, "18 e00001 08 0a")).announced).toEqual(["10.0.0.0/8"]);
  });

  test.each(
    [
      ["IPv4", new Uint8Array(4), 4],
      ["IPv6", updateBody("800f03 0002 01"), 6],
    ] as const,
  )("End-of-RIB of %s", (_what, body, family) => {
    expect(decode(body).endOfRib).toBe(family);
    expect(decode(frameBody(encodeEndOfRib(family))).endOfRib).toBe(family);
  });

  test("the same bytes are read once, and give the same set", () => {
    const table = new AttributeTable();
    const decoder = new UpdateDecoder(EXTERNAL, table);
    const first = decoder.decode(frameOf(updateBody(GOOD, NLRI), 2)).announced[0]?.attributes;
    const second = decoder.decode(frameOf(updateBody(GOOD, "08 0b"), 2)).announced[0]?.attributes;
    expect(second).toBe(first as never);
    expect(table.size).toBe(1);
  });

  test("unknown optional attributes: transitive ones are kept, others dropped", () => {
    const [set] = decode(updateBody(`${GOOD} c0fa02 beef 80fb01 00`, NLRI)).attributes;
    expect(set?.unknown).toEqual([{ type: 250, value: bytes("beef") }]);
  });
});

function frameBody(message: Uint8Array): Uint8Array {
  return message.slice(19);
}

describe("RFC 7606: a malformed attribute costs its routes, or itself", () => {
  const withdraw: readonly (readonly [string, string, UpdateContext])[] = [
    ["ORIGIN 3", `400101 03 ${AS_PATH} ${NEXT_HOP}`, EXTERNAL],
    ["ORIGIN of two octets", `400102 0000 ${AS_PATH} ${NEXT_HOP}`, EXTERNAL],
    ["ORIGIN that claims to be optional", `c00101 00 ${AS_PATH} ${NEXT_HOP}`, EXTERNAL],
    ["no ORIGIN", `${AS_PATH} ${NEXT_HOP}`, EXTERNAL],
    ["no AS_PATH", `${ORIGIN} ${NEXT_HOP}`, EXTERNAL],
    ["no NEXT_HOP", `${ORIGIN} ${AS_PATH}`, EXTERNAL],
    ["no attributes", "", EXTERNAL],
    ["AS_PATH with an unknown segment", `${ORIGIN} 400206 0901 0000fde9 ${NEXT_HOP}`, EXTERNAL],
    ["AS_PATH with an empty segment", `${ORIGIN} 400202 0200 ${NEXT_HOP}`, EXTERNAL],
    ["AS_PATH that is cut off", `${ORIGIN} 400205 0201 0000fd ${NEXT_HOP}`, EXTERNAL],
    ["AS_PATH with AS 0", `${ORIGIN} 400206 0201 00000000 ${NEXT_HOP}`, EXTERNAL],
    ["NEXT_HOP of three octets", `${ORIGIN} ${AS_PATH} 400303 0a0000`, EXTERNAL],
    ["NEXT_HOP 0.0.0.0", `${ORIGIN} ${AS_PATH} 400304 00000000`, EXTERNAL],
    ["NEXT_HOP 127.0.0.1", `${ORIGIN} ${AS_PATH} 400304 7f000001`, EXTERNAL],
    ["a multicast NEXT_HOP", `${ORIGIN} ${AS_PATH} 400304 e0000001`, EXTERNAL],
    ["MED of two octets", `${GOOD} 800402 0000`, EXTERNAL],
    ["LOCAL_PREF of two octets, internal", `${GOOD} 400502 0000`, INTERNAL],
    ["COMMUNITIES of five octets", `${GOOD} c00805 0001000203`, EXTERNAL],
    ["empty COMMUNITIES", `${GOOD} c00800`, EXTERNAL],
    ["ORIGINATOR_ID of three octets, internal", `${GOOD} 800903 010203`, INTERNAL],
    ["CLUSTER_LIST of three octets, internal", `${GOOD} 800a03 010203`, INTERNAL],
    ["EXTENDED_COMMUNITIES of seven octets", `${GOOD} c01007 00010002030405`, EXTERNAL],
    ["LARGE_COMMUNITY of eleven octets", `${GOOD} c0200b ${"00".repeat(11)}`, EXTERNAL],
    ["an attribute beyond the end", `${GOOD} c00808 00010002`, EXTERNAL],
    ["two octets that are no attribute", `${GOOD} c008`, EXTERNAL],
  ];
  test.each(withdraw)("withdrawn: %s", (_what, attributes, context) => {
    const update = decode(updateBody(attributes, NLRI), context);
    expect(update.announced).toEqual([]);
    expect(update.rejected).toEqual(["10.1.0.0/24"]);
    expect(update.issues.join()).toMatch(/withdraw: \S/);
  });

  const discard: readonly (readonly [string, string, UpdateContext, Partial<Attributes>])[] = [
    ["LOCAL_PREF of two octets, external", "400502 0000", EXTERNAL, { localPref: undefined }],
    ["LOCAL_PREF, external", "400504 000000c8", EXTERNAL, { localPref: undefined }],
    ["ORIGINATOR_ID, external", "800904 01020304", EXTERNAL, { originatorId: undefined }],
    ["CLUSTER_LIST, external", "800a04 01020304", EXTERNAL, { clusterList: [] }],
    ["ATOMIC_AGGREGATE with an octet", "400601 00", EXTERNAL, { atomicAggregate: false }],
    ["AGGREGATOR of six octets", "c00706 fde901020304", EXTERNAL, { aggregator: undefined }],
    ["AS4_PATH from a peer with four octets", "c01106 0201 00000001", EXTERNAL, {}],
    ["a second ORIGIN", "400101 02", EXTERNAL, { origin: 0 }],
  ];
  test.each(discard)("ignored: %s", (_what, extra, context, expected) => {
    const update = decode(updateBody(`${GOOD} ${extra}`, NLRI), context);
    expect(update.announced).toEqual(["10.1.0.0/24"]);
    expect(update.attributes[0]).toMatchObject(expected);
  });

  const reset: readonly (readonly [string, Uint8Array, number])[] = [
    ["withdrawn routes longer than the message", bytes("0010 0000"), 1],
    ["attributes longer than the message", bytes("0000 0010"), 1],
    ["a prefix of 33 bits", updateBody(GOOD, "21 0a01000000"), 10],
    ["a prefix that is cut off", updateBody(GOOD, "18 0a01"), 10],
    ["a withdrawn prefix of 33 bits", updateBody("", "", "21 0a01000000"), 10],
    ["two MP_REACH_NLRI", updateBody(`${MP_REACH} ${MP_REACH} ${GOOD}`), 1],
    ["two MP_UNREACH_NLRI", updateBody(`${MP_UNREACH} ${MP_UNREACH}`), 1],
    ["MP_REACH_NLRI of four octets", updateBody(`800e04 00020110 ${GOOD}`), 9],
    ["a next hop of five octets", updateBody(`800e0b 0002 01 05 0102030405 00 00 ${GOOD}`), 9],
    ["an IPv6 prefix of 129 bits", updateBody(`800f05 0002 01 81 fd`), 9],
    ["an unknown well-known attribute", updateBody(`${GOOD} 40fa01 00`, NLRI), 2],
    ["an error, and no route to withdraw for it", updateBody(`400101 03`), 1],
  ];
  test.each(reset)("ends the session: %s", (_what, body, subcode) => {
    const error = bgpError(() => decode(body));
    expect([error.code, error.subcode]).toEqual([3, subcode]);
  });

  test("what is not negotiated is ignored", () => {
    const only4 = { ...EXTERNAL, families: [4] as const };
    expect(decode(updateBody(`${MP_REACH} ${ORIGIN} ${AS_PATH}`), only4).announced).toEqual([]);
    const multicast = MP_REACH.replace("0002 01", "0002 02");
    expect(decode(updateBody(`${multicast} ${ORIGIN} ${AS_PATH}`)).announced).toEqual([]);
  });
});

describe("AS numbers of two octets (RFC 6793 section 4.2.3)", () => {
  const path = (as2: string, more = "") =>
    pathText(
      decode(updateBody(`${ORIGIN} ${as2} ${NEXT_HOP} ${more}`, NLRI), OLD).attributes[0]?.asPath ??
        [],
    );

  test.each([
    ["no AS4_PATH", "400206 0202 fde9 fdea", "", "65001 65002"],
    [
      "a surplus in front",
      "400208 0203 fde9 5ba0 5ba0",
      "c0110a 0202 0001000100010002",
      "65001 65537 65538",
    ],
    ["equal lengths", "400204 0201 5ba0", "c01106 0201 00010001", "65537"],
    ["AS4_PATH that is longer", "400204 0201 fde9", "c0110a 0202 0001000100010002", "65001"],
    [
      "a confederation segment in AS4_PATH",
      "400204 0201 5ba0",
      "c0110c 0301 00000001 0201 00010001",
      "65537",
    ],
    [
      "AGGREGATOR of another AS",
      "400204 0201 5ba0",
      "c00706 fde9 01010101 c01106 0201 00010001",
      "23456",
    ],
    [
      "AGGREGATOR AS_TRANS",
      "400204 0201 5ba0",
      "c00706 5ba0 01010101 c01208 00010001 01010101 c01106 0201 00010001",
      "65537",
    ],
  ])("%s", (_what, as2, more, expected) => {
    expect(path(as2, more)).toBe(expected);
  });

  test("what two octets cannot say goes into AS4_PATH and AS4_AGGREGATOR, and comes back", () => {
    const set: Attributes = {
      ...EMPTY,
      nextHop: bytes("0a000001"),
      asPath: [{ type: 2, asns: [65001, 4_200_000_001, 7] }],
      aggregator: { asn: 4_200_000_001, address: 1 },
    };
    const block = encodeAttributes(set, 4, false);
    const update = decode(updateBody(Buffer.from(block.bytes).toString("hex"), NLRI), OLD);
    expect(update.attributes[0]).toMatchObject({ asPath: set.asPath, aggregator: set.aggregator });
  });
});

describe("UPDATEs out", () => {
  const RICH: Attributes = {
    origin: 2,
    asPath: [{ type: 2, asns: [65001, 4_200_000_000] }, { type: 1, asns: [1, 2] }],
    nextHop: bytes("c6120102"),
    med: 5,
    localPref: 200,
    atomicAggregate: true,
    aggregator: { asn: 65001, address: 0x01020304 },
    communities: [0xffffff01, 0xfde90001],
    largeCommunities: [1, 2, 3, 4_294_967_295, 5, 6],
    originatorId: 0x0a000001,
    clusterList: [1, 2],
    extendedCommunities: bytes("0002fde900000001"),
    unknown: [{ type: 250, value: bytes("00".repeat(300)) }],
  };

  function source(family: 4 | 6, count: number) {
    const table = new PrefixTable(family);
    const ids = Array.from({ length: count }, (_, i) => {
      const text = family === 4
        ? `10.${i >> 8}.${i & 255}.0/24`
        : `fd00:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::/48`;
      const prefix = parsePrefix(text);
      return prefix === undefined ? -1 : table.add(prefix.words, 0, prefix.length);
    });
    return { table, ids };
  }

  test.each([4, 6] as const)(
    "IPv%i: all attributes come back, and every prefix, in few messages",
    (family) => {
      for (const limit of [4096, 65535]) {
        const { table, ids } = source(family, 5000);
        const nextHop = family === 4 ? RICH.nextHop : bytes("fd00".padEnd(32, "1"));
        const out = new Writer();
        const block = encodeAttributes({ ...RICH, nextHop }, family, true);
        const messages = putAnnouncements(out, block, table, ids, limit);
        const framer = new Framer();
        framer.limit = limit;
        const decoder = new UpdateDecoder(INTERNAL, new AttributeTable());
        const seen = new Set<string>();
        let count = 0;
        for (const frame of framer.feed(out.take())) {
          const { announced, issues } = decoder.decode(frame);
          expect(issues).toEqual([]);
          for (const { batch, attributes } of announced) {
            expect(attributes).toMatchObject({ ...RICH, nextHop });
            for (let i = 0; i < batch.count; i++) seen.add(batch.text(i));
          }
          count++;
        }
        expect(seen.size).toBe(5000);
        expect(count).toBe(messages);
        expect(messages).toBeLessThan(limit === 4096 ? 12 : 2);
      }
    },
  );

  test.each([4, 6] as const)("IPv%i: withdrawals come back", (family) => {
    const { table, ids } = source(family, 2000);
    const out = new Writer();
    putWithdrawals(out, table, ids, 4096);
    const decoder = new UpdateDecoder(INTERNAL, new AttributeTable());
    const seen = [...new Framer().feed(out.take())].flatMap((frame) =>
      texts(decoder.decode(frame).withdrawn)
    );
    expect(seen).toEqual(ids.map((id) => table.text(id)));
  });

  test("attributes that leave no room for a prefix are not sent", () => {
    const unknown = [{ type: 250, value: new Uint8Array(4090) }];
    const block = encodeAttributes({ ...RICH, unknown }, 4, true);
    const { table, ids } = source(4, 1);
    expect(putAnnouncements(new Writer(), block, table, ids, 4096)).toBe(-1);
  });
});
