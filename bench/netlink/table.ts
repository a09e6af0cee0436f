/** The table that all contestants program: the same as in twin.c. */

import type { Op } from "../../src/kernel/dataplane/resource.ts";
import {
  type IpvsDestination,
  type IpvsService,
  type IpvsServiceId,
  ipvsServiceId,
} from "../../src/kernel/dataplane/resources/ipvs.ts";

export interface BenchTable {
  readonly services: readonly Op<IpvsService>[];
  readonly destinations: readonly Op<IpvsDestination>[];
}

function dotted(address: number): string {
  return `${address >>> 24}.${address >>> 16 & 255}.${address >>> 8 & 255}.${address & 255}`;
}

export function benchTable(services: number, destinations: number): BenchTable {
  const ids: readonly IpvsServiceId[] = Array.from(
    { length: services },
    (_, i) => ipvsServiceId(4, "tcp", dotted(0x0a600001 + i), 80),
  );
  const table: BenchTable = {
    services: ids.map((id) => ({
      verb: "create",
      item: { id, scheduler: "rr", schedulerFlags: 0, persistence: 0 },
    })),
    destinations: ids.flatMap((service, i) =>
      Array.from({ length: destinations }, (_, k) => ({
        verb: "create" as const,
        item: {
          service,
          address: dotted(0x0af40001 + (i * destinations + k) % 65000),
          port: 8080,
          weight: 1,
          method: "masq" as const,
        },
      }))
    ),
  };
  flatten(table);
  return table;
}

/**
 * A template string is a rope until someone reads it, and the first reader pays. In the agent that is the JSON parser or the
 * planner, long before the netlink layer.
 */
function flatten(table: BenchTable): void {
  const seen = new Set<string>();
  for (const { item } of table.services) seen.add(item.id.key).add(item.id.address);
  for (const { item } of table.destinations) seen.add(item.address);
}

/** The same table as `ipvsadm -R` reads it. */
export function restoreText(table: BenchTable): string {
  const byService = Map.groupBy(table.destinations, (op) => op.item.service);
  return table.services.map(({ item: { id, scheduler } }) => {
    const name = `-t ${id.address}:${id.port}`;
    const members = (byService.get(id) ?? []).map(({ item }) =>
      `-a ${name} -r ${item.address}:${item.port} -m -w ${item.weight}\n`
    );
    return `-A ${name} -s ${scheduler}\n${members.join("")}`;
  }).join("");
}
