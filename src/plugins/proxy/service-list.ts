/** The Services as a list to look through: pages of it, found by name or address, the busiest first or by name. Pure. */

import type { EndpointSlice, IpvsCounters, Service } from "../../kernel/plugin.ts";
import { addressesOf, serviceKey } from "./service-names.ts";

export interface ListedService {
  /** "namespace/name". */
  readonly name: string;
  readonly type: string;
  readonly addresses: readonly string[];
  /** "80/tcp", "http 80/tcp". */
  readonly ports: readonly string[];
  /** Addresses in its slices, ready or not. */
  readonly endpoints: number;
  readonly connectionRate: number;
  readonly inByteRate: number;
  readonly outByteRate: number;
}

export interface ServiceListAnswer {
  readonly services: readonly ListedService[];
  /** How many the search found. */
  readonly total: number;
}

export interface ServiceListQuery {
  readonly offset: number;
  readonly limit: number;
  /** A part of the name or of an address; "" for all. */
  readonly find: string;
  readonly order: "name" | "rate";
}

type Rates = Pick<IpvsCounters, "connectionRate" | "inByteRate" | "outByteRate">;

/** @param rates of each Service, all of its virtual services together */
export function listServices(
  services: Iterable<Service>,
  slicesOf: (unit: string) => readonly EndpointSlice[],
  rates: ReadonlyMap<string, Rates>,
  { offset, limit, find, order }: ServiceListQuery,
): ServiceListAnswer {
  const wanted = find.trim().toLowerCase();
  const found: { readonly name: string; readonly service: Service }[] = [];
  for (const service of services) {
    const name = serviceKey(service);
    if (
      wanted === "" || name.includes(wanted) || addressesOf(service).some((a) => a.includes(wanted))
    ) {
      found.push({ name, service });
    }
  }
  const rate = (name: string) => rates.get(name)?.connectionRate ?? 0;
  const byName = (a: string, b: string) => a < b ? -1 : 1;
  found.sort((a, b) =>
    (order === "rate" ? rate(b.name) - rate(a.name) : 0) || byName(a.name, b.name)
  );
  return {
    total: found.length,
    services: found.slice(offset, offset + limit).map(({ name, service }) => ({
      name,
      type: service.spec.type,
      addresses: addressesOf(service),
      ports: service.spec.ports.map(({ name, port, protocol, nodePort }) =>
        `${name === "" ? "" : `${name} `}${port}/${protocol.toLowerCase()}${
          nodePort === 0 ? "" : ` (${nodePort})`
        }`
      ),
      endpoints: slicesOf(name).reduce((sum, { endpoints }) => sum + endpoints.length, 0),
      connectionRate: rate(name),
      inByteRate: rates.get(name)?.inByteRate ?? 0,
      outByteRate: rates.get(name)?.outByteRate ?? 0,
    })),
  };
}
