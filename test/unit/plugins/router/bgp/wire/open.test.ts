import { describe, expect, test } from "bun:test";
import { BgpError } from "../../../../../../src/plugins/router/bgp/wire/error.ts";
import { Framer } from "../../../../../../src/plugins/router/bgp/wire/framer.ts";
import {
  decodeOpen,
  encodeOpen,
  type Open,
} from "../../../../../../src/plugins/router/bgp/wire/open.ts";
import { bgpError, bytes, frameOf } from "../../../../../support/bgp-wire.ts";

const FULL: Open = {
  asn: 4_200_000_002,
  holdSeconds: 90,
  routerId: 0x0a000001,
  capabilities: {
    families: [4, 6],
    routeRefresh: true,
    enhancedRefresh: true,
    fourOctetAs: true,
    extendedMessage: true,
    extendedNextHop: true,
    gracefulRestart: {
      restarting: true,
      notification: false,
      seconds: 4095,
      families: [{ family: 4, forwarding: true }, { family: 6, forwarding: false }],
    },
    hostname: "node1",
    codes: [1, 2, 5, 6, 64, 65, 70, 73],
  },
};

function decode(message: Uint8Array): Open {
  return decodeOpen(frameOf(message));
}

describe("OPEN", () => {
  test("comes back as it went out", () => {
    expect(decode(encodeOpen(FULL))).toEqual(FULL);
  });

  test("says AS_TRANS where two octets are too few (RFC 6793)", () => {
    expect(encodeOpen(FULL).subarray(20, 22)).toEqual(bytes("5ba0"));
  });

  test("may have parameters in the extended form (RFC 9072)", () => {
    // By hand: 4, AS 1, hold 90, id 1.1.1.1, 255, 255, length 11, parameter 2 of 8 octets: capability 65 and route refresh.
    const message = bytes("04 0001 005a 01010101 ff ff 000b 02 0008 41 04 00000001 02 00");
    expect(decodeOpen(frameOf(message, 1))).toMatchObject({ asn: 1, holdSeconds: 90 });
  });

  test("takes one capability a parameter as well, unknown ones, and repeated ones", () => {
    const one = "02 06 01 04 0001 00 01";
    const two = "02 06 01 04 0002 00 01";
    const three = "02 02 80 00";
    const four = "02 04 f0 02 dead";
    const list = [one, two, three, one, four].join(" ");
    const length = bytes(list).length.toString(16).padStart(2, "0");
    const open = decodeOpen(frameOf(bytes(`04 fde8 005a 0a000001 ${length} ${list}`), 1));
    expect(open.asn).toBe(65000);
    expect(open.capabilities).toMatchObject({
      families: [4, 6],
      routeRefresh: true,
      fourOctetAs: false,
      codes: [1, 128, 240],
    });
  });

  test("without capabilities means IPv4 and AS numbers of two octets", () => {
    const open = decodeOpen(frameOf(bytes("04 fde8 005a 0a000001 00"), 1));
    expect(open.capabilities).toMatchObject({ families: undefined, fourOctetAs: false });
  });

  test.each([
    ["version 3", "03 fde8 005a 0a000001 00", 2, 1, "0004"],
    ["an unknown parameter", "04 fde8 005a 0a000001 03 01 01 00", 2, 4, ""],
    ["parameters that are too short", "04 fde8 005a 0a000001 09 02 06 0104", 2, 0, ""],
    ["a capability that is cut off", "04 fde8 005a 0a000001 04 02 02 41 04", 2, 0, ""],
    ["parameters beyond their length", "04 fde8 005a 0a000001 00 02 00", 2, 0, ""],
  ])("with %s is refused", (_what, hex, code, subcode, data) => {
    const error = bgpError(() => decodeOpen(frameOf(bytes(hex), 1)));
    expect([error.code, error.subcode]).toEqual([code, subcode]);
    expect(error.data).toEqual(bytes(data));
  });
});

describe("framing (RFC 4271 section 6.1)", () => {
  const header = (length: string, type: string, marker = "ff".repeat(16)) =>
    bytes(`${marker}${length}${type}`);

  test.each([
    ["a marker with a zero", header("0013", "04", `${"ff".repeat(15)}00`), 1, ""],
    ["length 18", header("0012", "04"), 2, "0012"],
    ["length 4097", header("1001", "02"), 2, "1001"],
    ["a KEEPALIVE of 20", header("0014", "04"), 2, "0014"],
    ["an OPEN of 28", header("001c", "01"), 2, "001c"],
    ["an UPDATE of 22", header("0016", "02"), 2, "0016"],
    ["a NOTIFICATION of 20", header("0014", "03"), 2, "0014"],
    ["type 0", header("0013", "00"), 3, "00"],
    ["type 6", header("0013", "06"), 3, "06"],
  ])("%s is refused", (_what, message, subcode, data) => {
    const error = bgpError(() => [...new Framer().feed(message)]);
    expect([error.code, error.subcode]).toEqual([1, subcode]);
    expect(error.data).toEqual(bytes(data));
  });

  test("what came before a broken header is still read", () => {
    const framer = new Framer();
    const good = header("0013", "04");
    const seen: number[] = [];
    expect(() => {
      for (const { type } of framer.feed(new Uint8Array([...good, ...new Uint8Array(19)]))) {
        seen.push(type);
      }
    }).toThrow(BgpError);
    expect(seen).toEqual([4]);
  });

  test("an UPDATE of 65535 octets needs both sides' consent, an OPEN stays short (RFC 8654)", () => {
    const framer = new Framer();
    framer.limit = 65535;
    expect([...framer.feed(header("ffff", "02"))]).toEqual([]);
    const other = new Framer();
    other.limit = 65535;
    expect(() => [...other.feed(header("1001", "01"))]).toThrow(BgpError);
  });
});
