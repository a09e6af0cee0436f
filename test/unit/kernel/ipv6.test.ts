import { describe, expect, test } from "bun:test";
import ipaddr from "ipaddr.js";
import { ipv6Into, ipv6Text } from "../../../src/kernel/ipv6.ts";
import { random } from "../../support/random.ts";

function parsed(text: string): readonly number[] | undefined {
  const bytes = new Uint8Array(16);
  return ipv6Into(text, bytes) ? [...bytes] : undefined;
}

describe("IPv6 addresses", () => {
  test("are read and written as an independent library does, however many zeros they have", () => {
    const dice = random(7);
    for (let n = 0; n < 5_000; n++) {
      const groups = Array.from(
        { length: 8 },
        () =>
          dice.below(2) === 0 ? 0 : dice.below([0xf, 0xff, 0xfff, 0xffff][dice.below(4)] ?? 1) + 1,
      );
      const bytes = Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
      const theirs = new ipaddr.IPv6([...bytes]);
      expect(ipv6Text(bytes)).toBe(theirs.toRFC5952String());
      expect(parsed(theirs.toRFC5952String())).toEqual([...bytes]);
      expect(parsed(theirs.toNormalizedString().toUpperCase())).toEqual([...bytes]);
    }
  });

  test("may be at any place of a buffer", () => {
    const bytes = new Uint8Array(40).fill(9);
    expect(ipv6Into("fd00::1:2", bytes, 20)).toBe(true);
    expect([bytes[19], bytes[36]]).toEqual([9, 9]);
    expect(ipv6Text(bytes, 20)).toBe("fd00::1:2");
  });

  test("that are spelled in another way, and what is none, are left to others", () => {
    const wrong = [
      ...[
        "",
        ":",
        ":::",
        "1",
        "1:",
        ":1",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
      ],
      ...[
        "1:2:3:4::5:6:7:8",
        "::1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:8:",
        "12345::",
        "g::",
        "::1%eth0",
        "::1.2.3.4",
        " ::1",
      ],
    ];
    expect(wrong.filter((text) => parsed(text) !== undefined)).toEqual([]);
    expect(parsed("1:2:3:4:5:6:7::")?.slice(-4)).toEqual([0, 7, 0, 0]);
    expect(parsed("::2:3:4:5:6:7:8")?.slice(0, 4)).toEqual([0, 0, 0, 2]);
  });
});
