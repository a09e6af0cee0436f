/** The decoders of the tables over garbage: they may give nothing or anything well formed, and never throw. */

import { expect, test } from "bun:test";
import { decodeAddress } from "../../../../../src/kernel/dataplane/linux/address.ts";
import { readList } from "../../../../../src/kernel/dataplane/linux/ipset-codec.ts";
import { MessageReader } from "../../../../../src/kernel/dataplane/linux/message.ts";
import { decodeLink } from "../../../../../src/kernel/dataplane/linux/rtnl.ts";
import { decodeRoute } from "../../../../../src/kernel/dataplane/linux/rtnl-route.ts";
import { decodeRule } from "../../../../../src/kernel/dataplane/linux/rule.ts";
import { sent } from "../../../../wire/meaning.ts";
import { mutate, random } from "./random.ts";

const linkName = (index: number) => `#${index}`;

const cases: readonly (readonly [string, string, (message: MessageReader) => unknown])[] = [
  ["links", "ip link add x0 type bridge", decodeLink],
  [
    "tunnels",
    "ip link add tun0 type ipip local 192.0.2.1 remote 192.0.2.9 ttl 225 encap gue encap-sport auto encap-dport 5555 mode any",
    decodeLink,
  ],
  ["addresses", "ip -6 addr add fd00::1/128 dev node0 nodad noprefixroute", decodeAddress],
  [
    "routes",
    "ip route add 203.0.114.0/24 proto 201 table 1000 nexthop via 192.0.2.7 dev node0 nexthop via 192.0.2.8 dev node0",
    (message) => decodeRoute(message, linkName),
  ],
  [
    "rules",
    "ip rule add from 10.0.0.0/8 to 11.0.0.0/8 fwmark 0x3eb3/0xffff priority 32764 table 78 protocol 201",
    decodeRule,
  ],
  ["sets", "ipset add inet6:kube-router-svip-prt fd00::1,sctp:80", readList],
];

for (const [name, command, decode] of cases) {
  test(`the decoder of ${name} takes any bytes`, () => {
    const next = random(name.length);
    const good = sent(command);
    let decoded = 0;
    for (let i = 0; i < 5000; i++) {
      const bytes = mutate(next, good);
      const message = new MessageReader(bytes);
      message.load(bytes.length);
      while (message.next()) if (decode(message) !== undefined) decoded++;
    }
    // Some changes hit what does not matter, so the walk got past the header.
    expect(decoded).toBeGreaterThan(0);
  });
}
