/**
 * Destinations that drain: nobody wants them, they have weight 0, and their connections go on. Their deadlines are in a ledger of
 * their own, and whether they are idle is in Linux's counters.
 */

import type { Retirements } from "../resource.ts";
import { type IpvsDestination, ipvsDestination, type IpvsServiceId } from "../resources/ipvs.ts";
import { dumpDestinations, type IpvsConnection } from "./ipvs-connection.ts";
import type { Ledger } from "./ledger.ts";

/** What the retirements of an owner need. */
export interface RetiredContext {
  readonly connection: IpvsConnection;
  /** Opened when it is first asked for. */
  readonly retired: Ledger;
}

/** The retirements of an owner's destinations. Idle: neither active nor inactive connections. */
export function destinationRetirements(owner: RetiredContext): Retirements<IpvsDestination> {
  return {
    deadlines() {
      const { retired } = owner;
      const deadlines = new Map<string, number>();
      for (const key of retired.keys()) {
        const deadline = Number(retired.get(key));
        // A mark without a time that can be read: its time is up.
        deadlines.set(key, Number.isFinite(deadline) ? deadline : 0);
      }
      return deadlines;
    },
    note(deadlines) {
      owner.retired.add([...deadlines].map(([key, at]) => [key, String(Math.ceil(at))] as const));
    },
    forget(keys) {
      const gone = [...keys];
      if (gone.length > 0) owner.retired.remove(gone);
    },
    idle: (items) =>
      owner.connection.exclusive(async () => {
        const handle = await owner.connection.ready();
        const services = new Map<string, IpvsServiceId>();
        for (const { service } of items) services.set(service.key, service);
        const idle = new Set<string>();
        const asked = new Set(items.map(ipvsDestination.key));
        for (const id of services.values()) {
          for (const { item, active, inactive } of dumpDestinations(handle, id)) {
            const key = ipvsDestination.key(item);
            if (active === 0 && inactive === 0 && asked.has(key)) idle.add(key);
          }
        }
        return idle;
      }),
  };
}
