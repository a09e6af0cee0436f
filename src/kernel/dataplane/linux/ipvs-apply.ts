/** Carries out changes of IPVS services and destinations in pipelined batches, and says what became of each. */

import { KernelError } from "../errors.ts";
import type { Op, Outcome } from "../resource.ts";
import {
  type IpvsDestination,
  ipvsDestination,
  type IpvsService,
  ipvsService,
  type IpvsServiceId,
} from "../resources/ipvs.ts";
import { errno, kernelError, type Refusal } from "./errno.ts";
import {
  DestinationWriter,
  IPVS_CMD_DEL_DEST,
  IPVS_CMD_DEL_SERVICE,
  IPVS_CMD_NEW_DEST,
  IPVS_CMD_NEW_SERVICE,
  IPVS_CMD_SET_DEST,
  IPVS_CMD_SET_SERVICE,
  ServiceWriter,
} from "./ipvs-codec.ts";
import type { IpvsHandle } from "./ipvs-connection.ts";
import type { IpvsMirror, MirrorEntry } from "./ipvs-mirror.ts";
import type { Ledger } from "./ledger.ts";
import type { MessageWriter } from "./message.ts";

/** What an owner's changes need: its marks, and what it last made. */
export interface ApplyContext {
  readonly ledger: Ledger;
  readonly mirror: IpvsMirror;
}

/** Some of many ops: copies of 60,000 references are not free. */
export interface OpRange<T> {
  readonly ops: readonly Op<T>[];
  readonly from: number;
  /** One past the last. */
  readonly to: number;
}

const SERVICE_COMMANDS = {
  create: IPVS_CMD_NEW_SERVICE,
  update: IPVS_CMD_SET_SERVICE,
  delete: IPVS_CMD_DEL_SERVICE,
} as const;

/**
 * Makes, changes and removes services. The marks come first: after a kill -9 the ledger may name what is not there, never the
 * reverse.
 *
 * @throws {KernelError} when the ledger cannot be written or the socket is dead; then nothing can be said of any op
 */
export function applyServices(
  owner: ApplyContext,
  handle: IpvsHandle,
  { ops, from, to }: OpRange<IpvsService>,
  outcomes: Outcome<IpvsService>[],
): void {
  const { ledger, mirror } = owner;
  const fresh: string[] = [];
  for (let i = from; i < to; i++) {
    const op = ops[i];
    if (op?.verb !== "create") continue;
    const key = op.item.id.key;
    if (!ledger.has(key) || mirror.absent(key)) fresh.push(key);
  }
  if (mirror.hasStale) ledger.remove(mirror.takeStale(ledger.keys(), new Set(fresh)));
  ledger.add(fresh);

  const writer = new ServiceWriter(handle.familyId);
  const refusals = handle.socket.pipeline("change ipvs services", to - from, (w, i) => {
    const op = ops[from + i];
    if (op !== undefined) writer.write(w, SERVICE_COMMANDS[op.verb], op.item);
  });
  // Refusals are rare, and a set of ten thousand keys is not free.
  const marked = new Set(refusals.size === 0 ? [] : fresh);
  adoptServices(handle, writer, (i) => ops[from + i], refusals, marked);
  const standIns = replaceSchedulers(handle, writer, (i) => ops[from + i], refusals);

  const unmark: string[] = [];
  for (let i = from; i < to; i++) {
    const op = ops[i];
    if (op === undefined) continue;
    const key = op.item.id.key;
    const refusal = refusals.size === 0 ? undefined : refusals.get(i - from);
    if (refusal === undefined || (op.verb === "delete" && isAbsent(refusal))) {
      if (op.verb === "delete") {
        unmark.push(key);
        mirror.deleteService(key);
      } else mirror.putService(op.item);
      outcomes[i] = { op };
      continue;
    }
    const made = standIns.get(i - from);
    if (made !== undefined) {
      mirror.putService(made);
      outcomes[i] = { op, error: serviceError(op, refusal), made };
      continue;
    }
    if (isUnknown(refusal)) mirror.doubt(key);
    else if (op.verb === "create" && marked.has(key)) unmark.push(key);
    outcomes[i] = { op, error: serviceError(op, refusal) };
  }
  ledger.remove(unmark);
}

/** A service that we marked in an earlier life and that is there after all is brought into line. */
function adoptServices(
  handle: IpvsHandle,
  writer: ServiceWriter,
  at: (index: number) => Op<IpvsService> | undefined,
  refusals: Map<number, Refusal>,
  marked: ReadonlySet<string>,
): void {
  const again: { readonly index: number; readonly op: Op<IpvsService> }[] = [];
  for (const [index, refusal] of refusals) {
    const op = at(index);
    if (op?.verb !== "create" || refusal.errno !== errno.EEXIST) continue;
    if (!marked.has(op.item.id.key)) again.push({ index, op });
  }
  retry(handle, again, refusals, (w, op) => writer.write(w, IPVS_CMD_SET_SERVICE, op.item));
}

/**
 * A service whose scheduler this Linux lacks is served by `rr` meanwhile: better than not at all, and than the scheduler
 * of before with the rest of the change left out. Its refusal stays, and the change is tried again.
 *
 * @returns what was made, by the op's place
 */
function replaceSchedulers(
  handle: IpvsHandle,
  writer: ServiceWriter,
  at: (index: number) => Op<IpvsService> | undefined,
  refusals: ReadonlyMap<number, Refusal>,
): ReadonlyMap<number, IpvsService> {
  const again: { readonly index: number; readonly op: Op<IpvsService> }[] = [];
  for (const [index, refusal] of refusals) {
    const op = at(index);
    if (op === undefined || op.verb === "delete" || refusal.errno !== errno.ENOENT) continue;
    again.push({ index, op: { ...op, item: { ...op.item, scheduler: "rr", schedulerFlags: 0 } } });
  }
  const left = new Map<number, Refusal>();
  retry(handle, again, left, (w, op) => writer.write(w, SERVICE_COMMANDS[op.verb], op.item));
  return new Map(
    again.filter(({ index }) => !left.has(index)).map(({ index, op }) => [index, op.item]),
  );
}

/** Sends some of the ops once more in another form; their new refusals take the place of the old. */
function retry<T>(
  handle: IpvsHandle,
  again: readonly { readonly index: number; readonly op: Op<T> }[],
  refusals: Map<number, Refusal>,
  write: (w: MessageWriter, op: Op<T>) => void,
): void {
  if (again.length === 0) return;
  const second = handle.socket.pipeline("change ipvs entries", again.length, (w, i) => {
    const entry = again[i];
    if (entry !== undefined) write(w, entry.op);
  });
  for (const [i, entry] of again.entries()) {
    const refusal = second.get(i);
    if (refusal === undefined) refusals.delete(entry.index);
    else refusals.set(entry.index, refusal);
  }
}

function isAbsent(refusal: Refusal | undefined): boolean {
  return refusal?.errno === errno.ESRCH || refusal?.errno === errno.ENOENT;
}

/** The answer was lost, so Linux may or may not have made the change. */
function isUnknown(refusal: Refusal): boolean {
  return refusal.errno === errno.ENOBUFS || refusal.errno === errno.ETIMEDOUT;
}

function serviceError(op: Op<IpvsService>, refusal: Refusal): KernelError {
  const what = `${op.verb} ${ipvsService.kind}`;
  const object = op.item.id.key;
  // Only the lookup of the scheduler gives ENOENT here; a missing service is ESRCH.
  if (refusal.errno === errno.ENOENT) {
    return new KernelError(what, "ENOSUPPORT", {
      object,
      detail: `this Linux has no scheduler "${op.item.scheduler}"; "rr" serves meanwhile`,
      remedy: `load it on the host with "modprobe ip_vs_${op.item.scheduler}", or choose another`,
    });
  }
  if (refusal.errno === errno.EEXIST) {
    return kernelError(what, { ...refusal, text: "another program made this service" }, {
      object,
      remedy: "remove it there, or use another address or port",
    });
  }
  return kernelError(what, refusal, { object });
}

const DESTINATION_COMMANDS = {
  create: IPVS_CMD_NEW_DEST,
  update: IPVS_CMD_SET_DEST,
  delete: IPVS_CMD_DEL_DEST,
} as const;

/** Makes, changes and removes destinations. @throws {KernelError} when the socket is dead */
export function applyDestinations(
  owner: ApplyContext,
  handle: IpvsHandle,
  { ops, from, to }: OpRange<IpvsDestination>,
  outcomes: Outcome<IpvsDestination>[],
): void {
  const { ledger, mirror } = owner;
  // A service that is not ours is another's, or gone with its destinations: no command of ours may meet it.
  const owned = ownedBy(ledger);
  let sent: readonly number[] | undefined;
  for (let i = from; i < to && sent === undefined; i++) {
    const op = ops[i];
    if (op !== undefined && !owned(op.item.service)) sent = ownedIndexes(ops, from, to, owned);
  }
  const at = (i: number) => ops[sent === undefined ? from + i : sent[i] ?? -1];
  const writer = new DestinationWriter(handle.familyId);
  const refusals = handle.socket.pipeline(
    "change ipvs destinations",
    sent?.length ?? to - from,
    (w, i) => {
      const op = at(i);
      if (op !== undefined) writer.write(w, DESTINATION_COMMANDS[op.verb], op.item);
    },
  );
  convertDestinations(handle, writer, at, refusals);

  let index = 0;
  let last: IpvsServiceId | undefined;
  let entry: MirrorEntry | undefined;
  for (let i = from; i < to; i++) {
    const op = ops[i];
    if (op === undefined) continue;
    const service = op.item.service;
    if (sent !== undefined && sent[index] !== i) {
      outcomes[i] = op.verb === "delete" ? { op } : { op, error: foreignService(op) };
      continue;
    }
    if (service !== last) entry = mirror.entries.get(service.key);
    last = service;
    const refusal = refusals.size === 0 ? undefined : refusals.get(index);
    index++;
    if (refusal === undefined || (op.verb === "delete" && isAbsent(refusal))) {
      mirror.addCount(entry, op.verb === "create" ? 1 : op.verb === "delete" ? -1 : 0);
      outcomes[i] = { op };
      continue;
    }
    if (isUnknown(refusal)) mirror.doubt(service.key);
    outcomes[i] = { op, error: destinationError(op, refusal) };
  }
}

function ownedIndexes(
  ops: readonly Op<IpvsDestination>[],
  from: number,
  to: number,
  owned: (id: IpvsServiceId) => boolean,
): readonly number[] {
  const result: number[] = [];
  for (let i = from; i < to; i++) {
    const op = ops[i];
    if (op !== undefined && owned(op.item.service)) result.push(i);
  }
  return result;
}

/** Whether a service has our mark; destinations come service by service, so the last answer is often the next. */
function ownedBy(ledger: Ledger): (id: IpvsServiceId) => boolean {
  let last: IpvsServiceId | undefined;
  let answer = false;
  return (id) => {
    if (id !== last) {
      last = id;
      answer = ledger.has(id.key);
    }
    return answer;
  };
}

/** A create of what is there becomes an update, an update of what is not there a create. */
function convertDestinations(
  handle: IpvsHandle,
  writer: DestinationWriter,
  at: (index: number) => Op<IpvsDestination> | undefined,
  refusals: Map<number, Refusal>,
): void {
  const again: { readonly index: number; readonly op: Op<IpvsDestination> }[] = [];
  for (const [index, refusal] of refusals) {
    const op = at(index);
    const exists = op?.verb === "create" && refusal.errno === errno.EEXIST;
    const absent = op?.verb === "update" && refusal.errno === errno.ENOENT;
    if (op !== undefined && (exists || absent)) again.push({ index, op });
  }
  retry(handle, again, refusals, (w, op) => {
    writer.write(w, op.verb === "create" ? IPVS_CMD_SET_DEST : IPVS_CMD_NEW_DEST, op.item);
  });
}

function foreignService(op: Op<IpvsDestination>): KernelError {
  return new KernelError(`${op.verb} ${ipvsDestination.kind}`, "ESRCH", {
    object: ipvsDestination.key(op.item),
    detail: "its service is not ours",
  });
}

function destinationError(op: Op<IpvsDestination>, refusal: Refusal): KernelError {
  const what = `${op.verb} ${ipvsDestination.kind}`;
  const object = ipvsDestination.key(op.item);
  if (refusal.errno === errno.ESRCH) {
    return kernelError(what, { ...refusal, text: "its service is not there" }, { object });
  }
  if (refusal.errno === errno.EINVAL && refusal.text === undefined) {
    // Also where a namespace has neither "lo" up nor any address: it then has no local routing table to look in.
    return kernelError(what, refusal, {
      object,
      remedy: 'check that the address is a unicast address and that "lo" is up',
    });
  }
  return kernelError(what, refusal, { object });
}
