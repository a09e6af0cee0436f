/**
 * Programs the bench table by our netlink layer and prints the milliseconds of each of ROUNDS: the
 * first is a cold process, the last a warm one. Each round has a network namespace of its own, gone before the next: Linux's
 * hash of services has 256 buckets for all namespaces together, so a second full table would be slower for that alone.
 *
 * bun layer.ts SERVICES DESTINATIONS ROUNDS wire|tables [--warm-up]
 *
 * wire: encoder and socket, what twin.c does. tables: the whole way from ops to outcomes, with the ownership ledger.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DestinationWriter,
  IPVS_CMD_NEW_DEST,
  IPVS_CMD_NEW_SERVICE,
  ServiceWriter,
} from "../../src/kernel/dataplane/linux/ipvs-codec.ts";
import { type IpvsHandle, warmUp } from "../../src/kernel/dataplane/linux/ipvs-connection.ts";
import { openIpvs } from "../../src/kernel/dataplane/linux/ipvs.ts";
import type { Outcome } from "../../src/kernel/dataplane/resource.ts";
import { makeNamespace, removeNamespace } from "./namespace.ts";
import { benchTable } from "./table.ts";

const [services, destinations, rounds, mode, option] = Bun.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "bench-netlink-"));
const table = benchTable(Number(services), Number(destinations));

function check<T>(outcomes: readonly Outcome<T>[]): void {
  const bad = outcomes.find((outcome) => outcome.error !== undefined);
  if (bad?.error !== undefined) throw bad.error;
}

/** Encodes and sends, nothing else. */
function program({ socket, familyId }: IpvsHandle): void {
  const services = new ServiceWriter(familyId);
  const destinations = new DestinationWriter(familyId);
  const refused = socket.pipeline("bench", table.services.length, (w, i) => {
    const op = table.services[i];
    if (op !== undefined) services.write(w, IPVS_CMD_NEW_SERVICE, op.item);
  }).size + socket.pipeline("bench", table.destinations.length, (w, i) => {
    const op = table.destinations[i];
    if (op !== undefined) destinations.write(w, IPVS_CMD_NEW_DEST, op.item);
  }).size;
  if (refused > 0) throw new Error(`${refused} messages refused`);
}

let warmUpMs = 0;
if (option === "--warm-up") {
  const start = performance.now();
  warmUp();
  warmUpMs = performance.now() - start;
}
const times: number[] = [];
for (let round = 0; round < Number(rounds); round++) {
  const name = `layer${process.pid}-${round}`;
  await makeNamespace(name);
  const runtimeDirectory = join(directory, `${round}`);
  const ipvs = openIpvs({ namespace: `/run/netns/${name}`, runtimeDirectory });
  const handle = await ipvs.connection.ready();
  const start = performance.now();
  if (mode === "wire") program(handle);
  else {
    check(await ipvs.services("bench").apply(table.services));
    check(await ipvs.destinations("bench").apply(table.destinations));
  }
  times.push(performance.now() - start);
  ipvs.close();
  await removeNamespace(name);
}
rmSync(directory, { recursive: true });
console.log(JSON.stringify({ times, warmUpMs, rss: process.memoryUsage.rss() }));
