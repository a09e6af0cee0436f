/** Our rtnetlink messages against those of iproute2 6.1, captured by `tools-capture`. Each known difference is named. */

import { expect, test } from "bun:test";
import {
  decodeAddress,
  RTM_DELADDR,
  RTM_NEWADDR,
  writeAddressMessage,
} from "../../src/kernel/dataplane/linux/address.ts";
import {
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from "../../src/kernel/dataplane/linux/message.ts";
import {
  decodeRoute,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  writeRoute,
} from "../../src/kernel/dataplane/linux/rtnl-route.ts";
import {
  decodeRule,
  RTM_DELRULE,
  RTM_NEWRULE,
  writeRule,
} from "../../src/kernel/dataplane/linux/rule.ts";
import type { Address, Route, Rule } from "../../src/kernel/dataplane/resources/mod.ts";
import { beyond, meaning, reader, sent, written } from "./meaning.ts";

const CREATE = NLM_F_CREATE | NLM_F_EXCL;
const REPLACE = NLM_F_CREATE | NLM_F_REPLACE;
const INDEX = 7;
const context = { protocol: 201, index: () => INDEX };

/** Expects the same meaning, but for `more` that only we say and `less` that only the tool says. */
function same(
  command: string,
  head: number,
  write: (w: MessageWriter) => void,
  known: { readonly more?: readonly string[]; readonly less?: readonly string[] } = {},
): void {
  const ours = meaning(written(write), head);
  const theirs = meaning(sent(command), head);
  expect(beyond(ours, theirs)).toEqual(known.more ?? []);
  expect(beyond(theirs, ours)).toEqual(known.less ?? []);
}

const vip: Address = { family: 4, address: "10.96.0.1", prefix: 32, link: "node0" };
const vip6: Address = { family: 6, address: "fd00::1", prefix: 128, link: "node0" };
const local: Route = {
  family: 4,
  table: 255,
  type: "local",
  destination: "10.96.0.9/32",
  metric: 0,
  nextHops: [{ link: "node0" }],
  source: "192.0.2.1",
};
const TABLE = "15";

test("addresses are written as ip addr writes them", () => {
  same(
    "ip addr add 10.96.0.1/32 dev node0 scope link",
    8,
    (w) => writeAddressMessage(w, RTM_NEWADDR, CREATE, vip, INDEX),
  );
  same(
    "ip -6 addr add fd00::1/128 dev node0 nodad noprefixroute",
    8,
    (w) => writeAddressMessage(w, RTM_NEWADDR, CREATE, vip6, INDEX),
  );
  // We name the scope in a delete too; Linux does not look at it.
  same(
    "ip addr del 10.96.0.1/32 dev node0",
    8,
    (w) => writeAddressMessage(w, RTM_DELADDR, 0, vip, INDEX),
    { more: ["head"], less: ["head"] },
  );
});

test("routes are written as ip route writes them", () => {
  // The table is said in an attribute as well, since those above 255 need it.
  const more = [TABLE];
  const add = "ip route add local 10.96.0.9/32 dev node0 table local proto 201 src 192.0.2.1";
  same(add, 12, (w) => writeRoute(w, RTM_NEWROUTE, CREATE, local, context), { more });
  same(
    add.replace("add", "replace"),
    12,
    (w) => writeRoute(w, RTM_NEWROUTE, REPLACE, local, context),
    { more },
  );
  // A delete of ours is of any scope.
  same(
    "ip route del local 10.96.0.9/32 table local proto 201",
    12,
    (w) => writeRoute(w, RTM_DELROUTE, 0, local, context),
    { more: [TABLE, "head"], less: ["head"] },
  );
  same(
    "ip route add 203.0.113.0/24 via 192.0.2.7 dev node0 proto 201 metric 5",
    12,
    (w) =>
      writeRoute(w, RTM_NEWROUTE, CREATE, {
        family: 4,
        table: 254,
        type: "unicast",
        destination: "203.0.113.0/24",
        metric: 5,
        nextHops: [{ gateway: "192.0.2.7", link: "node0" }],
      }, context),
    { more },
  );
  same(
    "ip route add 203.0.115.0/24 via inet6 2001:db8::7 dev node0 proto 201",
    12,
    (w) =>
      writeRoute(w, RTM_NEWROUTE, CREATE, {
        family: 4,
        table: 254,
        type: "unicast",
        destination: "203.0.115.0/24",
        metric: 0,
        nextHops: [{ gateway: "2001:db8::7", link: "node0" }],
      }, context),
    { more },
  );
  same(
    "ip route add blackhole 203.0.116.0/24 proto 201",
    12,
    (w) =>
      writeRoute(w, RTM_NEWROUTE, CREATE, {
        family: 4,
        table: 254,
        type: "blackhole",
        destination: "203.0.116.0/24",
        metric: 0,
        nextHops: [],
      }, context),
    { more },
  );
});

test("several next hops are written as ip route writes them, but for the nest's flag", () => {
  const command = "ip route add 203.0.114.0/24 proto 201 table 1000 " +
    "nexthop via 192.0.2.7 dev node0 nexthop via 192.0.2.8 dev node0";
  const bytes = written((w) =>
    writeRoute(w, RTM_NEWROUTE, CREATE, {
      family: 4,
      table: 1000,
      type: "unicast",
      destination: "203.0.114.0/24",
      metric: 0,
      nextHops: ["192.0.2.7", "192.0.2.8"].map((gateway) => ({ gateway, link: "node0" })),
    }, context)
  );
  const theirs = decodeRoute(reader(sent(command)), () => "node0");
  expect(theirs).toBeDefined();
  expect(decodeRoute(reader(bytes), () => "node0")).toEqual(theirs);
});

test("IPv6 routes are written as ip route writes them", () => {
  const command = "ip -6 route add local fd00::9/128 dev node0 table local proto 201 " +
    "src 2001:db8::1 metric 1024";
  const known = { more: [TABLE] };
  same(command, 12, (w) =>
    writeRoute(w, RTM_NEWROUTE, CREATE, {
      ...local,
      family: 6,
      destination: "fd00::9/128",
      metric: 1024,
      source: "2001:db8::1",
    }, context), known);
});

test("rules are written as ip rule writes them", () => {
  const words =
    "from 10.0.0.0/8 to 11.0.0.0/8 fwmark 0x3eb3/0xffff priority 32764 table 78 protocol 201";
  const item: Rule = {
    family: 4,
    priority: 32764,
    from: "10.0.0.0/8",
    to: "11.0.0.0/8",
    mark: 0x3eb3,
    mask: 0xffff,
    table: 78,
  };
  const known = { more: [TABLE] };
  same(`ip rule add ${words}`, 12, (w) => writeRule(w, RTM_NEWRULE, CREATE, item, 201), known);
  // We name the action in a delete too, so that only a rule that looks up a table goes.
  same(`ip rule del ${words}`, 12, (w) => writeRule(w, RTM_DELRULE, 0, item, 201), {
    more: [TABLE, "head"],
    less: ["head"],
  });
  same(
    "ip -6 rule add priority 32765 table 1000 protocol 201",
    12,
    (w) => writeRule(w, RTM_NEWRULE, CREATE, { family: 6, priority: 32765, table: 1000 }, 201),
  );
});

test("what the tools say is read back as the same items", () => {
  const { link: _, ...address } = vip;
  expect(decodeAddress(reader(sent("ip addr add 10.96.0.1/32 dev node0 scope link")))).toEqual({
    ...address,
    index: INDEX,
  });
  const added = "ip route add local 10.96.0.9/32 dev node0 table local proto 201 src 192.0.2.1";
  expect(decodeRoute(reader(sent(added)), (index) => index === INDEX ? "node0" : "?")).toEqual({
    route: local,
    protocol: 201,
    index: INDEX,
  });
  expect(decodeRule(reader(sent("ip -6 rule add priority 32765 table 1000 protocol 201")))).toEqual(
    {
      rule: { family: 6, priority: 32765, table: 1000 },
      protocol: 201,
    },
  );
});
