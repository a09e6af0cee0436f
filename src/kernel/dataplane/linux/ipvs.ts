/**
 * IPVS services and destinations as tables. IPVS has no field for an owner, so services are marked in the ledger, and a
 * destination is ours if its service is. Nothing is ever flushed: deleted destinations lie in a trash list for two minutes that
 * each new one scans, so a table is changed entry by entry.
 */

import type { Logger } from "../../observe/log.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Op, Outcome, Table, WatchContext } from "../resource.ts";
import {
  type IpvsDestination,
  ipvsDestination,
  type IpvsService,
  ipvsService,
} from "../resources/ipvs.ts";
import { Conntrack } from "./conntrack.ts";
import { applyDestinations, applyServices, type OpRange } from "./ipvs-apply.ts";
import {
  IpvsConnection,
  type IpvsHandle,
  listDestinations,
  listServices,
} from "./ipvs-connection.ts";
import { IpvsDrift } from "./ipvs-drift.ts";
import { IpvsFlows } from "./ipvs-flows.ts";
import { IpvsMirror } from "./ipvs-mirror.ts";
import { destinationRetirements } from "./ipvs-retired.ts";
import { type Ledger, type LedgerOptions, openLedger, RUNTIME_DIRECTORY } from "./ledger.ts";

/** Messages that are sent before the event loop gets a turn: about 5 ms of Linux's time. */
const CHUNK = 4096;
/** Services whose destinations are read before the event loop gets a turn. */
const READ_CHUNK = 256;

export interface IpvsOptions {
  /** Network namespace: a descriptor or a path. Default: that of this thread. */
  readonly namespace?: string;
  /** Where the ledger lies. Default: /run/routelet. */
  readonly runtimeDirectory?: string;
  readonly warn?: NonNullable<LedgerOptions["warn"]>;
  readonly log?: Pick<Logger, "warn" | "info">;
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
    checkDrift(name, handle) {
      forOwner(name).drift.check(handle);
    },
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
  /** What becomes of UDP flows. */
  readonly flows: IpvsFlows;
  readonly name: string;
  readonly #options: IpvsOptions;
  #ledger: Ledger | undefined;
  #retired: Ledger | undefined;
  /** An engine works on this Linux: not a dry run, which only looks. */
  watched = false;

  constructor(connection: IpvsConnection, name: string, options: IpvsOptions) {
    this.connection = connection;
    this.name = name;
    this.#options = options;
    this.drift = new IpvsDrift(connection, this.mirror, (key) => this.ledger.has(key));
    const { log, namespace } = options;
    this.flows = new IpvsFlows({
      conntrack: new Conntrack(namespace === undefined ? {} : { namespace }),
      services: () => [...this.mirror.entries.values()].map(({ item }) => item.id),
      destinations: (id) => {
        const handle = connection.open;
        if (handle === undefined || !this.mirror.entries.has(id.key)) return undefined;
        return listDestinations(handle, id, this.mirror.expected(id.key));
      },
      ...(log === undefined ? {} : { log }),
    });
  }

  /** The marks of services. @throws {KernelError} when the ledger cannot be read */
  get ledger(): Ledger {
    return this.#ledger ??= this.#open("ipvs");
  }

  /** Destinations that nobody wants any more, with their deadlines. @throws {KernelError} when it cannot be read */
  get retired(): Ledger {
    return this.#retired ??= this.#open("ipvs-retired");
  }

  #open(kind: string): Ledger {
    const { namespace, runtimeDirectory, warn } = this.#options;
    return openLedger(
      runtimeDirectory ?? RUNTIME_DIRECTORY,
      this.name,
      kind,
      {
        ...(namespace === undefined ? {} : { namespace }),
        ...(warn === undefined ? {} : { warn }),
      },
    );
  }

  close(): void {
    this.drift.close();
    this.flows.close();
    this.#ledger?.close();
    this.#retired?.close();
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
        const handle = await connection.ready();
        owner.drift.rebase(handle);
        const entries = await listServices(handle);
        const result = entries.map(({ item }): Actual<IpvsService> => ({
          item,
          owned: ledger.has(item.id.key),
        }));
        mirror.replaceServices(result.filter((each) => each.owned).map((each) => each.item));
        return result;
      }),
    apply: (ops) =>
      connection.exclusive(async () => {
        const outcomes = await inChunks(
          connection,
          ops,
          (handle, range, outcomes) => applyServices(owner, handle, range, outcomes),
        );
        owner.flows.services(outcomes);
        return outcomes;
      }),
    watch(context: WatchContext<IpvsService>) {
      // Asking for the family may load a module: while the cluster is listed, not afterwards. The first list tells of errors.
      connection.ready().catch(() => {});
      return owner.drift.watchServices(context);
    },
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
        if (owner.watched) owner.flows.all();
        return result;
      }),
    apply: (ops) =>
      connection.exclusive(async () => {
        const outcomes = await inChunks(
          connection,
          ops,
          (handle, range, outcomes) => applyDestinations(owner, handle, range, outcomes),
        );
        owner.flows.destinations(outcomes);
        return outcomes;
      }),
    watch(context: WatchContext<IpvsDestination>) {
      owner.watched = true;
      const stop = owner.drift.watchDestinations(context);
      return () => {
        owner.watched = false;
        stop();
      };
    },
    retirements: destinationRetirements(owner),
  };
}

/** One turn of the event loop: timers and sockets of others run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Carries out ops chunk by chunk; `apply` adds one outcome for each op of its chunk. */
async function inChunks<T>(
  connection: IpvsConnection,
  ops: readonly Op<T>[],
  apply: (handle: IpvsHandle, range: OpRange<T>, outcomes: Outcome<T>[]) => void,
): Promise<readonly Outcome<T>[]> {
  let handle: IpvsHandle;
  try {
    handle = await connection.ready();
  } catch (error) {
    return ops.map((op) => ({ op, error: asKernelError("use ipvs", error) }));
  }
  const outcomes = new Array<Outcome<T>>(ops.length);
  for (let from = 0; from < ops.length; from += CHUNK) {
    if (from > 0) await turn();
    const to = Math.min(from + CHUNK, ops.length);
    try {
      apply(handle, { ops, from, to }, outcomes);
    } catch (error) {
      // It never throws for one op; what it throws (a dead socket, an unwritable ledger) is said of all.
      for (let i = from; i < to; i++) {
        const op = ops[i];
        if (op === undefined) continue;
        outcomes[i] = { op, error: asKernelError(`${op.verb} ipvs entries`, error) };
      }
    }
  }
  return outcomes;
}

function asKernelError(op: string, error: unknown): KernelError {
  return error instanceof KernelError
    ? error
    : new KernelError(op, "EIO", { detail: String(error) });
}
