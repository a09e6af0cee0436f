/**
 * Our IPVS messages against those of ipvsadm 1.31, captured by `ipvs-capture`. What ipvsadm sends and we do not is named here,
 * so that a new difference is noticed.
 */

import { expect, test } from "bun:test";
import { NLA_F_NESTED } from "../../src/kernel/dataplane/linux/attribute.ts";
import {
  DestinationWriter,
  IPVS_CMD_DEL_DEST,
  IPVS_CMD_DEL_SERVICE,
  IPVS_CMD_NEW_DEST,
  IPVS_CMD_NEW_SERVICE,
  IPVS_CMD_SET_DEST,
  IPVS_CMD_SET_SERVICE,
  readService,
  ServiceWriter,
} from "../../src/kernel/dataplane/linux/ipvs-codec.ts";
import { writeIpvsTimeouts } from "../../src/kernel/dataplane/linux/ipvs-config.ts";
import { MessageReader, MessageWriter } from "../../src/kernel/dataplane/linux/message.ts";
import {
  type IpvsDestination,
  ipvsFwmarkId,
  type IpvsService,
  type IpvsServiceId,
  ipvsServiceId,
} from "../../src/kernel/dataplane/resources/ipvs.ts";
import captured from "./ipvs-ipvsadm.json" with { type: "json" };

/** The family id of the machine that the capture was made on. */
const FAMILY = 0x1c;

function capturedBytes(command: string): Uint8Array {
  const found = captured.find((each) => each.command === `ipvsadm ${command}`);
  if (found === undefined) throw new Error(`"${command}" is not in the capture`);
  return Uint8Array.fromHex(found.hex);
}

/** Command, version and attributes as text; nested ones as "1.3 = hex". Sequence number and port id are left out. */
function meaning(bytes: Uint8Array): Map<string, string> {
  const reader = new MessageReader(bytes);
  reader.load(bytes.length);
  expect(reader.next()).toBe(true);
  expect(reader.end).toBe(bytes.length);
  const result = new Map([
    ["family", `${reader.type}`],
    ["command", `${reader.u8(0)} version ${reader.u8(1)}`],
  ]);
  const outer = reader.attributes(4);
  while (outer.next()) {
    const nested = (outer.view.getUint16(outer.start - 2, true) & NLA_F_NESTED) !== 0;
    if (!nested) result.set(`${outer.type}`, outer.data().toHex());
    else {
      outer.nested((inner) => {
        while (inner.next()) result.set(`${outer.type}.${inner.type}`, inner.data().toHex());
      });
    }
  }
  expect(outer.error).toBeUndefined();
  return result;
}

function ours(write: (w: MessageWriter) => void): Uint8Array {
  const w = new MessageWriter(1024);
  // What an earlier message left in the buffer must not shine through.
  w.bytes.fill(0xa5);
  write(w);
  expect(w.error).toBeUndefined();
  return w.bytes.slice(0, w.position);
}

/** Keys that only one side has, and the values of those that both have and that differ. */
function difference(
  a: Uint8Array,
  b: Uint8Array,
): { less: string[]; more: string[]; other: string[] } {
  const [left, right] = [meaning(a), meaning(b)];
  return {
    less: [...right.keys()].filter((key) => !left.has(key)),
    more: [...left.keys()].filter((key) => !right.has(key)),
    other: [...left].filter(([key, value]) => right.has(key) && right.get(key) !== value)
      .map(([key, value]) => `${key}: ${value} instead of ${right.get(key)}`),
  };
}

const same = { less: [], more: [], other: [] };

const web = ipvsServiceId(4, "tcp", "10.0.0.1", 80);
const dns = ipvsServiceId(4, "udp", "10.0.0.2", 53);
const web6 = ipvsServiceId(6, "tcp", "fd00::1", 443);
const mark = ipvsFwmarkId(4, 17);

function service(
  id: IpvsServiceId,
  scheduler: string,
  persistence = 0,
  schedulerFlags = 0,
): IpvsService {
  return { id, scheduler, persistence, schedulerFlags };
}

const services: readonly (readonly [string, IpvsService])[] = [
  ["-A -t 10.0.0.1:80 -s rr", service(web, "rr")],
  ["-A -u 10.0.0.2:53 -s wrr -p 10800", service(dns, "wrr", 10800)],
  ["-A -t [fd00::1]:443 -s sh -b sh-fallback,sh-port", service(web6, "sh", 0, 0x18)],
  ["-A -u [fd00::2]:53 -s rr -p 300", service(ipvsServiceId(6, "udp", "fd00::2", 53), "rr", 300)],
  ["-A --sctp-service 10.0.0.3:9 -s lc", service(ipvsServiceId(4, "sctp", "10.0.0.3", 9), "lc")],
  ["-A -f 17 -s rr", service(mark, "rr")],
  ["-A -f 18 -6 -s wlc", service(ipvsFwmarkId(6, 18), "wlc")],
];

for (const [command, item] of services) {
  test(`a new service says what "ipvsadm ${command}" says, in the same bytes`, () => {
    const bytes = ours((w) => new ServiceWriter(FAMILY).write(w, IPVS_CMD_NEW_SERVICE, item));
    const expected = capturedBytes(command);
    expect(difference(bytes, expected)).toEqual(same);
    expect(bytes.subarray(16).toHex()).toBe(expected.subarray(16).toHex());
  });

  test(`what "ipvsadm ${command}" sends is read as the service it means`, () => {
    const bytes = capturedBytes(command);
    const reader = new MessageReader(bytes);
    reader.load(bytes.length);
    reader.next();
    expect(readService(reader)?.item).toEqual(item);
    expect(reader.error).toBeUndefined();
  });
}

test("a changed service says what ipvsadm says", () => {
  const bytes = ours((w) =>
    new ServiceWriter(FAMILY).write(w, IPVS_CMD_SET_SERVICE, service(web, "lc", 60))
  );
  expect(difference(bytes, capturedBytes("-E -t 10.0.0.1:80 -s lc -p 60"))).toEqual(same);
});

test("a deleted service is only named, where ipvsadm sends settings that Linux does not look at", () => {
  const settings = ["1.6", "1.7", "1.8", "1.9"];
  const one = ours((w) =>
    new ServiceWriter(FAMILY).write(w, IPVS_CMD_DEL_SERVICE, service(web, "rr"))
  );
  expect(difference(one, capturedBytes("-D -t 10.0.0.1:80"))).toEqual({ ...same, less: settings });
  const other = ours((w) =>
    new ServiceWriter(FAMILY).write(w, IPVS_CMD_DEL_SERVICE, service(ipvsFwmarkId(6, 18), "rr"))
  );
  expect(difference(other, capturedBytes("-D -f 18 -6"))).toEqual({ ...same, less: settings });
});

/** The service's settings, and the tunnel's type, port and flags, all zero. */
const LEFT_OUT = ["1.6", "1.7", "1.8", "1.9", "2.13", "2.14", "2.15"];

function destination(
  id: IpvsServiceId,
  address: string,
  port: number,
  method: IpvsDestination["method"],
  weight: number,
): IpvsDestination {
  return { service: id, address, port, method, weight };
}

const destinations: readonly (readonly [string, number, IpvsDestination])[] = [
  [
    "-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1",
    IPVS_CMD_NEW_DEST,
    destination(web, "10.1.0.1", 8080, "masq", 1),
  ],
  [
    "-a -t 10.0.0.1:80 -r 10.1.0.2:80 -i -w 100",
    IPVS_CMD_NEW_DEST,
    destination(web, "10.1.0.2", 80, "tunnel", 100),
  ],
  [
    "-a -u 10.0.0.2:53 -r 10.1.0.3:53 -g -w 0",
    IPVS_CMD_NEW_DEST,
    destination(dns, "10.1.0.3", 53, "route", 0),
  ],
  [
    "-a -t [fd00::1]:443 -r [fd00::aa]:8443 -m -w 7",
    IPVS_CMD_NEW_DEST,
    destination(web6, "fd00::aa", 8443, "masq", 7),
  ],
  ["-a -f 17 -r 10.1.0.4 -m", IPVS_CMD_NEW_DEST, destination(mark, "10.1.0.4", 0, "masq", 1)],
  [
    "-e -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 0",
    IPVS_CMD_SET_DEST,
    destination(web, "10.1.0.1", 8080, "masq", 0),
  ],
  // Without -m, -i or -g ipvsadm means "route"; Linux does not look at it.
  [
    "-d -t 10.0.0.1:80 -r 10.1.0.1:8080",
    IPVS_CMD_DEL_DEST,
    destination(web, "10.1.0.1", 8080, "route", 1),
  ],
];

for (const [command, number, item] of destinations) {
  test(`a destination says what "ipvsadm ${command}" says`, () => {
    const writer = new DestinationWriter(FAMILY);
    const bytes = ours((w) => writer.write(w, number, item));
    expect(difference(bytes, capturedBytes(command))).toEqual({ ...same, less: LEFT_OUT });
  });
}

test("a destination copied from the one before it carries nothing of that one", () => {
  const writer = new DestinationWriter(FAMILY);
  const w = new MessageWriter();
  for (const [, number, item] of destinations) writer.write(w, number, item);
  for (const [, number, item] of destinations.toReversed()) writer.write(w, number, item);
  const reader = new MessageReader(w.bytes);
  reader.load(w.position);
  for (const [command, number, item] of [...destinations, ...destinations.toReversed()]) {
    expect(reader.next()).toBe(true);
    const bytes = w.bytes.slice(reader.start - 16, reader.end);
    expect(difference(bytes, capturedBytes(command))).toEqual({ ...same, less: LEFT_OUT });
    expect(bytes.toHex()).toBe(
      ours((one) => new DestinationWriter(FAMILY).write(one, number, item)).toHex(),
    );
  }
});

test("time-outs say what ipvsadm says", () => {
  const bytes = ours((w) => writeIpvsTimeouts(w, FAMILY, { tcp: 900, tcpFin: 120, udp: 300 }));
  expect(difference(bytes, capturedBytes("--set 900 120 300"))).toEqual(same);
});
