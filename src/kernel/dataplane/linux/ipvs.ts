/**
 * IPVS services and destinations as tables. IPVS has no field for an owner, so services are marked in the ledger, and a
 * destination is ours if its service is. Nothing is ever flushed: deleted destinations lie in a trash list for two minutes that
 * each new one scans, so a table is changed entry by entry.
 */

import { KernelError } from "../errors.ts";
import type { Actual, Op, Outcome, Table, WatchContext } from "../resource.ts";
import {
  type IpvsDestination,
  ipvsDestination,
  type IpvsService,
  ipvsService,
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
  writeService,
} from "./ipvs-codec.ts";
import {
  IpvsConnection,
  type IpvsHandle,
  listDestinations,
  listServices,
} from "./ipvs-connection.ts";
import { IpvsDrift } from "./ipvs-drift.ts";
import { IpvsMirror } from "./ipvs-mirror.ts";
import { type Ledger, openLedger, RUNTIME_DIRECTORY } from "./ledger.ts";

/** Messages that are sent before the event loop gets a turn: about 5 ms of Linux's time. */
const CHUNK = 4096;
/** Services whose destinations are read before the event loop gets a turn. */
const READ_CHUNK = 256;

export interface IpvsOptions {
  /** Network namespace: a descriptor or a path. Default: that of this thread. */
  readonly namespace?: string;
  /** Where the ledger lies. Default: /run/routelet. */
  readonly runtimeDirectory?: string;
}

/** Both tables of every owner, over one connection. */
export interface Ipvs {
  services(owner: string): Table<IpvsService>;
  destinations(owner: string): Table<IpvsDestination>;
  readonly connection: IpvsConnection;
  /** One check for drift now, beside those by the clock. @throws {KernelError} when Linux cannot be read */
  checkDrift(owner: string, handle: IpvsHandle): void;
  close(): void;
}

/** Opens nothing yet: the first list or apply does. */
export function openIpvs(options: IpvsOptions = {}): Ipvs {
  const connection = new IpvsConnection(options.namespace);
  const owners = new Map<string, IpvsOwner>();
  function forOwner(name: string): IpvsOwner {
    const known = owners.get(name);
    if (known !== undefined) return known;
    const created = new IpvsOwner(connection, name, options);
    owners.set(name, created);
    return created;
  }
  return {
    connection,
    services: (name) => ipvsServiceTable(forOwner(name)),
    destinations: (name) => ipvsDestinationTable(forOwner(name)),
    checkDrift: (name, handle) => forOwner(name).drift.check(handle),
    close() {
      for (const owner of owners.values()) owner.close();
      connection.close();
    },
  };
}

/** What both tables of an owner share. */
export class IpvsOwner {
  readonly connection: IpvsConnection;
  readonly mirror: IpvsMirror = new IpvsMirror();
  readonly drift: IpvsDrift;
  readonly name: string;
  readonly #options: IpvsOptions;
  #ledger: Ledger | undefined;

  constructor(connection: IpvsConnection, name: string, options: IpvsOptions) {
    this.connection = connection;
    this.name = name;
    this.#options = options;
    this.drift = new IpvsDrift(connection, this.mirror, (key) => this.ledger.has(key));
  }

  /** @throws {KernelError} when the ledger cannot be read */
  get ledger(): Ledger {
    const { namespace, runtimeDirectory } = this.#options;
    this.#ledger ??= openLedger(
      runtimeDirectory ?? RUNTIME_DIRECTORY,
      this.name,
      "ipvs",
      namespace === undefined ? {} : { namespace },
    );
    return this.#ledger;
  }

  close(): void {
    this.drift.close();
    this.#ledger?.close();
  }
}

/** The services of the namespace; those in the owner's ledger are owned. */
export function ipvsServiceTable(owner: IpvsOwner): Table<IpvsService> {
  const { connection, mirror } = owner;
  return {
    resource: ipvsService,
    list: () =>
      connection.exclusive(async () => {
        const ledger = owner.ledger;
        const entries = await listServices(await connection.ready());
        const result = entries.map(({ item }): Actual<IpvsService> => ({
          item,
          owned: ledger.has(item.id.key),
        }));
        mirror.replaceServices(result.filter((each) => each.owned).map((each) => each.item));
        return result;
      }),
    apply: (ops) =>
      connection.exclusive(() =>
        inChunks(connection, ops, (handle, chunk) => applyServices(owner, handle, chunk))
      ),
    watch: (context: WatchContext<IpvsService>) => owner.drift.watchServices(context),
  };
}

/** The destinations of the owner's services; those of others are not listed. */
export function ipvsDestinationTable(owner: IpvsOwner): Table<IpvsDestination> {
  const { connection, mirror } = owner;
  return {
    resource: ipvsDestination,
    list: () =>
      connection.exclusive(async () => {
        const handle = await connection.ready();
        const { ledger } = owner;
        const services = mirror.listed
          ? [...mirror.entries.values()].map((entry) => entry.item.id)
          : (await listServices(handle)).map((entry) => entry.item.id)
            .filter((id) => ledger.has(id.key));
        const result: Actual<IpvsDestination>[] = [];
        for (const [index, id] of services.entries()) {
          if (index % READ_CHUNK === READ_CHUNK - 1) await turn();
          const items = listDestinations(handle, id, mirror.expected(id.key));
          mirror.setCount(id.key, items.length);
          for (const item of items) result.push({ item, owned: true });
        }
        return result;
      }),
    apply: (ops) =>
      connection.exclusive(() =>
        inChunks(connection, ops, (handle, chunk) => applyDestinations(owner, handle, chunk))
      ),
    watch: (context: WatchContext<IpvsDestination>) => owner.drift.watchDestinations(context),
  };
}

/** One turn of the event loop: timers and sockets of others run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function inChunks<T>(
  connection: IpvsConnection,
  ops: readonly Op<T>[],
  apply: (handle: IpvsHandle, chunk: readonly Op<T>[]) => Outcome<T>[],
): Promise<readonly Outcome<T>[]> {
  let handle: IpvsHandle;
  try {
    handle = await connection.ready();
  } catch (error) {
    return ops.map((op) => ({ op, error: asKernelError("use ipvs", error) }));
  }
  if (ops.length <= CHUNK) return guarded(handle, ops, apply);
  const outcomes: Outcome<T>[] = [];
  for (let at = 0; at < ops.length; at += CHUNK) {
    if (at > 0) await turn();
    for (const outcome of guarded(handle, ops.slice(at, at + CHUNK), apply)) outcomes.push(outcome);
  }
  return outcomes;
}

/** `apply` never throws for one op; what it throws (a dead socket, an unwritable ledger) is said of every op. */
function guarded<T>(
  handle: IpvsHandle,
  ops: readonly Op<T>[],
  apply: (handle: IpvsHandle, chunk: readonly Op<T>[]) => Outcome<T>[],
): Outcome<T>[] {
  try {
    return apply(handle, ops);
  } catch (error) {
    return ops.map((op) => ({ op, error: asKernelError(`${op.verb} ipvs entries`, error) }));
  }
}

function asKernelError(op: string, error: unknown): KernelError {
  return error instanceof KernelError
    ? error
    : new KernelError(op, "EIO", { detail: String(error) });
}

const SERVICE_COMMANDS = {
  create: IPVS_CMD_NEW_SERVICE,
  update: IPVS_CMD_SET_SERVICE,
  delete: IPVS_CMD_DEL_SERVICE,
} as const;

function applyServices(
  owner: IpvsOwner,
  handle: IpvsHandle,
  ops: readonly Op<IpvsService>[],
): Outcome<IpvsService>[] {
  const { ledger, mirror } = owner;
  const fresh = new Set<string>();
  for (const op of ops) {
    const key = op.item.id.key;
    if (op.verb === "create" && (!ledger.has(key) || mirror.absent(key))) fresh.add(key);
  }
  // The mark comes first: after a kill -9 it may name what is not there, never the reverse.
  ledger.remove(mirror.takeStale(ledger.keys(), fresh));
  ledger.add([...fresh].map((key) => [key] as const));

  const refusals = handle.socket.pipeline("change ipvs services", ops.length, (w, i) => {
    const op = ops[i];
    if (op !== undefined) writeService(w, handle.familyId, SERVICE_COMMANDS[op.verb], op.item);
  });
  adoptServices(handle, ops, refusals, fresh);

  const unmark: string[] = [];
  const outcomes = ops.map((op, i): Outcome<IpvsService> => {
    const key = op.item.id.key;
    const refusal = refusals.get(i);
    const gone = op.verb === "delete" && isAbsent(refusal);
    if (refusal === undefined || gone) {
      if (op.verb === "delete") {
        unmark.push(key);
        mirror.deleteService(key);
      } else mirror.putService(op.item);
      return { op };
    }
    if (isUnknown(refusal)) mirror.doubt(key);
    else if (op.verb === "create" && fresh.has(key)) unmark.push(key);
    return { op, error: serviceError(op, refusal) };
  });
  ledger.remove(unmark);
  return outcomes;
}

/** A service that we marked in an earlier life and that is there after all is brought into line. */
function adoptServices(
  handle: IpvsHandle,
  ops: readonly Op<IpvsService>[],
  refusals: Map<number, Refusal>,
  fresh: ReadonlySet<string>,
): void {
  const again: { readonly index: number; readonly op: Op<IpvsService> }[] = [];
  for (const [index, refusal] of refusals) {
    const op = ops[index];
    if (op?.verb !== "create" || refusal.errno !== errno.EEXIST) continue;
    if (!fresh.has(op.item.id.key)) again.push({ index, op });
  }
  retry(handle, again, refusals, (w, op) => {
    writeService(w, handle.familyId, IPVS_CMD_SET_SERVICE, op.item);
  });
}

/** Sends some of the ops once more in another form; their new refusals take the place of the old. */
function retry<T>(
  handle: IpvsHandle,
  again: readonly { readonly index: number; readonly op: Op<T> }[],
  refusals: Map<number, Refusal>,
  write: (w: Parameters<Parameters<IpvsHandle["socket"]["pipeline"]>[2]>[0], op: Op<T>) => void,
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
      detail: `this Linux has no scheduler "${op.item.scheduler}"`,
      remedy: `load it on the host with "modprobe ip_vs_${op.item.scheduler}"`,
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

function applyDestinations(
  owner: IpvsOwner,
  handle: IpvsHandle,
  all: readonly Op<IpvsDestination>[],
): Outcome<IpvsDestination>[] {
  const { ledger, mirror } = owner;
  // A service that is not ours is another's, or gone with its destinations: no command of ours may meet it.
  const ops = all.every((op) => ledger.has(op.item.service.key))
    ? all
    : all.filter((op) => ledger.has(op.item.service.key));
  const writer = new DestinationWriter(handle.familyId);
  const refusals = handle.socket.pipeline("change ipvs destinations", ops.length, (w, i) => {
    const op = ops[i];
    if (op !== undefined) writer.write(w, DESTINATION_COMMANDS[op.verb], op.item);
  });
  convertDestinations(handle, writer, ops, refusals);

  let index = 0;
  return all.map((op): Outcome<IpvsDestination> => {
    const key = op.item.service.key;
    if (ops !== all && !ledger.has(key)) {
      return op.verb === "delete" ? { op } : { op, error: foreignService(op) };
    }
    const refusal = refusals.get(index++);
    if (refusal === undefined || (op.verb === "delete" && isAbsent(refusal))) {
      if (op.verb !== "update") mirror.addCount(key, op.verb === "create" ? 1 : -1);
      else mirror.touch(key);
      return { op };
    }
    if (isUnknown(refusal)) mirror.doubt(key);
    return { op, error: destinationError(op, refusal) };
  });
}

/** A create of what is there becomes an update, an update of what is not there a create. */
function convertDestinations(
  handle: IpvsHandle,
  writer: DestinationWriter,
  ops: readonly Op<IpvsDestination>[],
  refusals: Map<number, Refusal>,
): void {
  const again: { readonly index: number; readonly op: Op<IpvsDestination> }[] = [];
  for (const [index, refusal] of refusals) {
    const op = ops[index];
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
