import { expect, test } from "bun:test";
import {
  BATCH_BYTES,
  MessageReader,
  MessageWriter,
} from "../../../../../src/kernel/dataplane/linux/message.ts";
import {
  DestinationWriter,
  IPVS_CMD_NEW_DEST,
  IPVS_CMD_NEW_SERVICE,
  readDestination,
  readService,
  ServiceWriter,
} from "../../../../../src/kernel/dataplane/linux/ipvs-codec.ts";
import { warmUp } from "../../../../../src/kernel/dataplane/linux/ipvs-connection.ts";
import {
  ipvsFwmarkId,
  type IpvsService,
  ipvsServiceId,
} from "../../../../../src/kernel/dataplane/resources/ipvs.ts";
import { mutate, random, randomBytes } from "./random.ts";

function first(bytes: Uint8Array): MessageReader {
  const reader = new MessageReader(bytes);
  reader.load(bytes.length);
  reader.next();
  return reader;
}

function serviceBytes(service: IpvsService): Uint8Array {
  const w = new MessageWriter(512);
  new ServiceWriter(28).write(w, IPVS_CMD_NEW_SERVICE, service);
  expect(w.error).toBeUndefined();
  return w.bytes.slice(0, w.position);
}

const web = ipvsServiceId(4, "tcp", "10.96.0.1", 80);

test("a persistent service with a mask that groups clients equals nothing that we want", () => {
  const bytes = serviceBytes({ id: web, scheduler: "rr", schedulerFlags: 0, persistence: 300 });
  bytes.set([0xff, 0xff, 0xff, 0x00], bytes.length - 4);
  expect(readService(first(bytes))?.item.persistence).toBe(-1);
});

test("Linux's own flag bits are not the scheduler's", () => {
  const service = { id: web, scheduler: "mh", schedulerFlags: 0x38, persistence: 0 };
  const bytes = serviceBytes(service);
  const flags = bytes.toHex().indexOf("0c000700") / 2 + 4;
  bytes[flags] = (bytes[flags] ?? 0) | 0x2 | 0x4;
  expect(readService(first(bytes))?.item).toEqual(service);
});

test("an address that does not parse is an error of its message alone", () => {
  const w = new MessageWriter(1024);
  new ServiceWriter(28).write(w, IPVS_CMD_NEW_SERVICE, {
    id: ipvsServiceId(4, "tcp", "10.96.0", 80),
    scheduler: "rr",
    schedulerFlags: 0,
    persistence: 0,
  });
  expect(w.error).toBe('"10.96.0" is no IP address');
  w.reset();
  const writer = new DestinationWriter(28);
  const good = { service: web, address: "10.1.0.1", port: 80, weight: 1, method: "masq" } as const;
  writer.write(w, IPVS_CMD_NEW_DEST, { ...good, service: ipvsServiceId(4, "tcp", "x", 80) });
  expect(w.error).toBe('"x" is no IP address');
  w.reset();
  writer.write(w, IPVS_CMD_NEW_DEST, good);
  expect(w.error).toBeUndefined();
  writer.write(w, IPVS_CMD_NEW_DEST, { ...good, weight: -1 });
  expect(w.error).toContain("weight -1");
});

test("a destination of another family than its service keeps its own", () => {
  const w = new MessageWriter(1024);
  const item = { service: web, address: "fd00::1", port: 8, weight: 2, method: "tunnel" } as const;
  new DestinationWriter(28).write(w, IPVS_CMD_NEW_DEST, item);
  expect(readDestination(first(w.bytes.slice(0, w.position)), web)?.item).toEqual(item);
});

test("garbage is decoded to something or to an error, and never thrown at", () => {
  const next = random(4);
  const w = new MessageWriter(1024);
  const item = { service: web, address: "10.1.0.1", port: 8, weight: 2, method: "masq" } as const;
  new DestinationWriter(28).write(w, IPVS_CMD_NEW_DEST, item);
  const valid = [
    serviceBytes({ id: web, scheduler: "rr", schedulerFlags: 0, persistence: 300 }),
    serviceBytes({
      id: ipvsFwmarkId(6, 3),
      scheduler: "sh",
      schedulerFlags: 0x18,
      persistence: 0,
    }),
    w.bytes.slice(0, w.position),
  ];
  let errors = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = mutate(next, valid[round % 3] ?? randomBytes(next, 100), 6);
    const reader = first(bytes);
    const service = readService(reader, true);
    if (service !== undefined) {
      expect([4, 6]).toContain(service.item.id.family);
      expect(service.item.id.key).toBeString();
    }
    const destination = readDestination(reader, web, true);
    if (destination !== undefined) {
      expect(["masq", "tunnel", "route"]).toContain(destination.item.method);
    }
    if (reader.error !== undefined) errors++;
  }
  expect(errors).toBeGreaterThan(100);
});

test("warmUp() sends nothing and stays within one batch", () => {
  expect(() => warmUp(2000, 5)).not.toThrow();
  expect(BATCH_BYTES).toBe(65536);
});
