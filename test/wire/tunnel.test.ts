/** Our tunnels and FOU ports against what iproute2 6.1 sends, and the numbers of linux/fou.h. */

import { describe, expect, test } from "bun:test";
import type { AttributeReader } from "../../src/kernel/dataplane/linux/attribute.ts";
import { decodeFou, writeFou } from "../../src/kernel/dataplane/linux/fou.ts";
import {
  decodeLink,
  IFINFOMSG,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  RTM_NEWLINK,
  writeLinkHead,
} from "../../src/kernel/dataplane/linux/rtnl.ts";
import { writeTunnelData } from "../../src/kernel/dataplane/linux/tunnel.ts";
import type { Link, Tunnel } from "../../src/kernel/dataplane/resources/link.ts";
import { beyond, reader, sent, written } from "./meaning.ts";

const ends4 = { local: "192.0.2.1", remote: "192.0.2.9" };
const ends6 = { local: "2001:db8::1", remote: "2001:db8::9" };
const gue = { port: 5555 };

/** The attributes of IFLA_INFO_DATA in hex, by number. */
function data(bytes: Uint8Array): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (a: AttributeReader, path: readonly number[]): void => {
    while (a.next()) {
      const [next, ...rest] = path;
      if (next === undefined) found[String(a.type)] = a.data().toHex();
      else if (a.type === next) a.nested((inner) => walk(inner, rest));
    }
  };
  walk(reader(bytes).attributes(IFINFOMSG), [IFLA_LINKINFO, IFLA_INFO_DATA]);
  return found;
}

function ours(type: Link["type"], tunnel: Tunnel): Uint8Array {
  return written((w) => {
    w.begin(RTM_NEWLINK);
    writeLinkHead(w, 0);
    w.string(3, "tun0");
    w.nested(IFLA_LINKINFO, (info) => {
      info.string(IFLA_INFO_KIND, type);
      writeTunnelData(info, tunnel);
    });
    w.end();
  });
}

describe("tunnels are written as ip link writes them", () => {
  // What only the tool says is zero: no device (1), no class (5), no label (7), no encapsulation (15 to 18), no mark (20).
  const cases: readonly (readonly [string, Link["type"], Tunnel, readonly string[]])[] = [
    [
      "ip link add tun0 type ipip local 192.0.2.1 remote 192.0.2.9 ttl inherit nopmtudisc mode any",
      "ipip",
      { ...ends4, ttl: 0 },
      ["1", "15", "16", "17", "18", "20", "5"],
    ],
    [
      "ip link add tun0 type ipip local 192.0.2.1 remote 192.0.2.9 ttl 225 encap gue encap-sport auto encap-dport 5555 mode any",
      "ipip",
      { ...ends4, ttl: 225, gue },
      ["1", "20", "5"],
    ],
    [
      "ip link add tun6 type ip6tnl mode any local 2001:db8::1 remote 2001:db8::9 hoplimit 225 encaplimit none encap gue encap-sport auto encap-dport 5555",
      "ip6tnl",
      { ...ends6, ttl: 225, gue },
      ["1", "20", "6", "7"],
    ],
  ];
  for (const [command, type, tunnel, less] of cases) {
    test(command, () => {
      const mine = data(ours(type, tunnel));
      const theirs = data(sent(command));
      expect(beyond(mine, theirs)).toEqual([]);
      expect(beyond(theirs, mine)).toEqual([...less]);
      expect(decodeLink(reader(sent(command)))).toMatchObject({ type, tunnel });
      expect(decodeLink(reader(ours(type, tunnel)))?.tunnel).toEqual(tunnel);
    });
  }
});

test("a tunnel without one of its ends is none of ours", () => {
  for (const ends of [{ ...ends4, remote: "0.0.0.0" }, { ...ends6, local: "::" }]) {
    expect(decodeLink(reader(ours("ipip", { ...ends, ttl: 0 })))?.tunnel).toBeUndefined();
  }
});

test("FOU ports are asked for in GUE, without a protocol, in either family", () => {
  const hex = (family: 4 | 6, verb: "add" | "delete") =>
    written((w) => writeFou(w, 0x1d, verb, { family, port: 5555 })).slice(16).toHex();
  // genlmsghdr; port (1) in network order; family (2); type (4): GUE (2).
  expect(hex(4, "add")).toBe(
    "01010000" + "0600010015b30000" + "0500020002000000" + "0500040002000000",
  );
  expect(hex(6, "delete")).toBe("02010000" + "0600010015b30000" + "050002000a000000");
  const answer = reader(written((w) => writeFou(w, 0x1d, "add", { family: 6, port: 5555 })));
  expect(decodeFou(answer)).toEqual({ family: 6, port: 5555, type: 2 });
});
