/**
 * What BIRD 2.0.12, GoBGP 3.10.0 and FRR 8.4.4 send (bgp.json, made by bgp-capture.ts) is read as their configurations say, and
 * what we write of it again is read as the same.
 */

import { describe, expect, test } from "bun:test";
import { formatIp, ipv4Text } from "../../src/kernel/ip.ts";
import { AttributeTable } from "../../src/plugins/router/bgp/rib/attributes.ts";
import { PrefixTable } from "../../src/plugins/router/bgp/rib/prefixes.ts";
import { type Attributes, pathText } from "../../src/plugins/router/bgp/wire/attributes.ts";
import { hex, Writer } from "../../src/plugins/router/bgp/wire/bytes.ts";
import {
  communityText,
  largeCommunityTexts,
} from "../../src/plugins/router/bgp/wire/communities.ts";
import { capabilityName } from "../../src/plugins/router/bgp/wire/constants.ts";
import { encodeAttributes, putAnnouncements } from "../../src/plugins/router/bgp/wire/encode.ts";
import { errorName, shutdownText } from "../../src/plugins/router/bgp/wire/error.ts";
import type { Frame } from "../../src/plugins/router/bgp/wire/framer.ts";
import { decodeNotification, decodeRefresh } from "../../src/plugins/router/bgp/wire/messages.ts";
import { decodeOpen, encodeOpen } from "../../src/plugins/router/bgp/wire/open.ts";
import type { PrefixBatch } from "../../src/plugins/router/bgp/wire/prefix.ts";
import { UpdateDecoder } from "../../src/plugins/router/bgp/wire/update.ts";
import { bytes, frameOf } from "../support/bgp-wire.ts";
import captured from "./bgp.json" with { type: "json" };

const CONTEXT = {
  fourOctetAs: true,
  external: true,
  extendedNextHop: true,
  families: [4, 6] as const,
};

const texts = (batch: PrefixBatch): string[] =>
  Array.from({ length: batch.count }, (_, i) => batch.text(i));

function attributesText(set: Attributes): string {
  const { nextHop } = set;
  const hops = nextHop.length === 32
    ? [nextHop.subarray(0, 16), nextHop.subarray(16)].map(formatIp)
    : [formatIp(nextHop)];
  const more = [
    ...(set.med === undefined ? [] : [`med ${set.med}`]),
    ...set.communities.map(communityText),
    ...largeCommunityTexts(set.largeCommunities),
    ...(set.extendedCommunities.length === 0 ? [] : [`extended ${hex(set.extendedCommunities)}`]),
    ...(set.aggregator === undefined
      ? []
      : [`aggregator ${set.aggregator.asn} ${ipv4Text(set.aggregator.address)}`]),
    ...(set.atomicAggregate ? ["atomic"] : []),
    ...set.unknown.map(({ type }) => `attribute ${type}`),
  ];
  return `via ${hops.join(" and ")} path ${pathText(set.asPath)}${
    more.map((m) => `, ${m}`).join("")
  }`;
}

/** One line for people. An issue would stand in it. */
function updateText(frame: Frame): string {
  const update = new UpdateDecoder(CONTEXT, new AttributeTable()).decode(frame);
  return [
    ...update.withdrawn.map((batch) => `withdraws ${texts(batch).join(" ")}`),
    ...update.announced.map(({ batch, attributes }) =>
      `announces ${texts(batch).join(" ")} ${attributesText(attributes)}`
    ),
    ...update.rejected.map((batch) => `rejected ${texts(batch).join(" ")}`),
    ...update.issues.map(({ message }) => message),
    ...(update.endOfRib === undefined ? [] : [`End-of-RIB of IPv${update.endOfRib}`]),
  ].join("; ");
}

function messageText(message: Uint8Array): string {
  const frame = frameOf(message);
  switch (frame.type) {
    case 1: {
      const { asn, holdSeconds, routerId, capabilities } = decodeOpen(frame);
      const restart = capabilities.gracefulRestart;
      return `OPEN AS ${asn}, hold ${holdSeconds}, ${ipv4Text(routerId)}, ${
        capabilities.codes.map(capabilityName).join(" ")
      }, IPv${
        capabilities.families?.join("+")
      }, restart ${restart?.restarting} ${restart?.seconds} s ${
        restart?.families.map(({ family, forwarding }) => `${family}${forwarding ? "F" : ""}`)
      }`;
    }
    case 2:
      return `UPDATE ${updateText(frame)}`;
    case 3: {
      const { code, subcode, data } = decodeNotification(frame);
      return `NOTIFICATION ${errorName(code, subcode)} "${shutdownText(data)}"`;
    }
    case 4:
      return "KEEPALIVE";
    default: {
      const { family, subtype } = decodeRefresh(frame, true);
      return `ROUTE-REFRESH IPv${family} ${["request", "begin", "end"][subtype]}`;
    }
  }
}

/** Compared by hand with the configurations in bgp-capture.ts; in the order of the sessions. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  "BIRD version 2.0.12": [
    "OPEN AS 65001, hold 240, 10.255.0.1, multiprotocol route-refresh extended-nexthop extended-message graceful-restart 4-octet-as enhanced-route-refresh long-lived-graceful-restart, IPv4+6, restart false 120 s 4,6",
    "KEEPALIVE",
    "UPDATE announces 10.1.0.0/24 via 198.18.1.2 path 65001 4200000001, med 7, 65001:5, 65001:6:4294967295, extended 0002fde900000008",
    "UPDATE announces 10.1.1.0/24 via fd00:1::2 path 65001",
    "UPDATE End-of-RIB of IPv4",
    "UPDATE announces fd01:1::/48 via fd00:1::2 and fe80::f41d:78ff:fea7:98c7 path 65001",
    "UPDATE End-of-RIB of IPv6",
    "UPDATE withdraws fd01:1::/48",
    "UPDATE withdraws 10.1.0.0/24 10.1.1.0/24",
    "ROUTE-REFRESH IPv4 begin",
    "ROUTE-REFRESH IPv4 end",
    "ROUTE-REFRESH IPv6 begin",
    "ROUTE-REFRESH IPv6 end",
    "ROUTE-REFRESH IPv4 request",
    "ROUTE-REFRESH IPv6 request",
    'NOTIFICATION 6/2 (cease: administrative shutdown) "BIRD leaves"',
  ],
  "gobgpd version 3.10.0": [
    "OPEN AS 4200000002, hold 90, 10.255.0.2, route-refresh fqdn multiprotocol 4-octet-as graceful-restart extended-nexthop, IPv4+6, restart false 60 s 4,6",
    "KEEPALIVE",
    "UPDATE announces 10.2.0.0/24 via 198.18.2.2 path 4200000002, med 8, 64000:5, 9:8:7, aggregator 4200000002 10.255.0.2",
    "UPDATE announces 10.2.1.0/24 via 198.18.2.2 path 4200000002",
    "UPDATE End-of-RIB of IPv4",
    "UPDATE announces fd02:2::/48 via fd00:2::2 path 4200000002",
    "UPDATE End-of-RIB of IPv6",
    "UPDATE withdraws 10.2.1.0/24",
    'NOTIFICATION 6/2 (cease: administrative shutdown) "GoBGP leaves"',
  ],
  "FRR version 8.4.4": [
    "OPEN AS 65003, hold 180, 10.255.0.3, multiprotocol route-refresh (old) route-refresh enhanced-route-refresh 4-octet-as extended-message add-path fqdn graceful-restart long-lived-graceful-restart, IPv4+6, restart true 120 s 4,6",
    "KEEPALIVE",
    "UPDATE End-of-RIB of IPv4",
    // Without zebra it knows no IPv6 address of its own, and maps the IPv4 one.
    "UPDATE announces fd03:3::/48 via 198.18.3.2 path 65003, med 0",
    "UPDATE End-of-RIB of IPv6",
    "UPDATE announces 10.3.0.0/16 via 198.18.3.2 path 65003, med 9, 65003:5, no-export, 65003:6:7, aggregator 65003 10.255.0.3",
    "UPDATE announces 10.3.7.0/24 via 198.18.3.2 path 65003, med 9, 65003:5, no-export, 65003:6:7",
    "UPDATE announces 10.244.1.0/24 via 198.18.3.2 path 65003 65000, med 9, 65003:5, no-export, 65003:6:7",
    "UPDATE withdraws 10.3.0.0/16 10.3.7.0/24",
    "ROUTE-REFRESH IPv4 begin",
    "ROUTE-REFRESH IPv6 begin",
    "ROUTE-REFRESH IPv4 request",
    "ROUTE-REFRESH IPv4 end",
    "ROUTE-REFRESH IPv6 end",
    'NOTIFICATION 6/2 (cease: administrative shutdown) "FRR leaves"',
  ],
};

describe.each(captured)("$daemon", ({ daemon, messages }) => {
  test("says what it is configured to say", () => {
    expect(messages.map((message) => messageText(bytes(message)))).toEqual([
      ...(EXPECTED[daemon] ?? []),
    ]);
  });

  test("says the same when we say it again", () => {
    let announced = 0;
    for (const message of messages) {
      const frame = frameOf(bytes(message));
      if (frame.type === 1) {
        const open = decodeOpen(frame);
        const again = decodeOpen(frameOf(encodeOpen(open)));
        // Capabilities that we do not know are not ours to say.
        expect({ ...again, capabilities: { ...again.capabilities, codes: [] } }).toEqual({
          ...open,
          capabilities: { ...open.capabilities, codes: [] },
        });
      }
      if (frame.type !== 2) continue;
      const update = new UpdateDecoder(CONTEXT, new AttributeTable()).decode(frame);
      for (const { batch, attributes } of update.announced) {
        const table = new PrefixTable(batch.family);
        const size = batch.family === 4 ? 1 : 4;
        const ids = texts(batch).map((_, i) =>
          table.add(batch.words, i * size, batch.lengths[i] ?? 0)
        );
        const before = `announces ${texts(batch).join(" ")} ${attributesText(attributes)}`;
        const out = new Writer();
        putAnnouncements(out, encodeAttributes(attributes, batch.family, true), table, ids, 4096);
        expect(updateText(frameOf(out.take()))).toBe(before);
        announced++;
      }
    }
    expect(announced).toBeGreaterThan(1);
  });
});
