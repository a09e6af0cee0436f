/**
 * IPVS's time-outs as a table. Linux has no mark for them: those that we set are in the owner's ledger, with the value
 * before our first change.
 */

import { KernelError } from "../errors.ts";
import type { Actual, Op, Outcome, Table } from "../resource.ts";
import { type IpvsTimeout, ipvsTimeout } from "../resources/ipvs-timeout.ts";
import { getIpvsTimeouts, type IpvsTimeouts, setIpvsTimeouts } from "./ipvs-config.ts";
import type { IpvsConnection, IpvsHandle } from "./ipvs-connection.ts";
import type { Ledger } from "./ledger.ts";

const FIELDS = { tcp: "tcp", tcpfin: "tcpFin", udp: "udp" } as const;
/** Linux leaves a time-out of 0 as it is. */
const UNCHANGED: IpvsTimeouts = { tcp: 0, tcpFin: 0, udp: 0 };

/** @param open opens the owner's ledger, at the first use */
export function ipvsTimeoutTable(
  connection: IpvsConnection,
  open: () => Ledger,
): Table<IpvsTimeout> {
  let opened: Ledger | undefined;
  const ledger = (): Ledger => opened ??= open();

  const set = (handle: IpvsHandle, name: IpvsTimeout["name"], seconds: number): void =>
    setIpvsTimeouts(handle, { ...UNCHANGED, [FIELDS[name]]: seconds });

  function carryOut(handle: IpvsHandle, op: Op<IpvsTimeout>): Outcome<IpvsTimeout> {
    const { name, seconds } = op.item;
    try {
      if (op.verb === "delete") {
        const before = Number(ledger().get(name) ?? 0);
        if (before > 0) set(handle, name, before);
        ledger().remove([name]);
      } else {
        ledger().add([[name, String(getIpvsTimeouts(handle)[FIELDS[name]])]]);
        set(handle, name, seconds);
      }
      return { op };
    } catch (error) {
      return { op, error: asKernelError(op, error) };
    }
  }

  return {
    resource: ipvsTimeout,
    list: () =>
      connection.exclusive(async () => {
        const names = [...ledger().keys()].filter((name): name is IpvsTimeout["name"] =>
          Object.hasOwn(FIELDS, name)
        );
        // A node without IPVS has none of ours, and need not be told so here.
        if (names.length === 0) return [];
        const now = getIpvsTimeouts(await connection.ready());
        return names.map((name): Actual<IpvsTimeout> => ({
          item: { name, seconds: now[FIELDS[name]] },
          owned: true,
        }));
      }),
    apply: (ops) =>
      connection.exclusive(async () => {
        if (ops.length === 0) return [];
        let handle: IpvsHandle;
        try {
          handle = await connection.ready();
        } catch (error) {
          return ops.map((op) => ({ op, error: asKernelError(op, error) }));
        }
        return ops.map((op) => carryOut(handle, op));
      }),
  };
}

function asKernelError(op: Op<IpvsTimeout>, error: unknown): KernelError {
  return error instanceof KernelError ? error : new KernelError(`${op.verb} ipvs timeout`, "EIO", {
    object: op.item.name,
    detail: String(error),
  });
}
