/** Answers what commands ask of the proxy, with the counters of Linux beside. */

import { canonicalIp, type Family } from "../../kernel/ip.ts";
import type {
  EndpointSlice,
  IpvsCounters,
  IpvsProtocol,
  IpvsServiceId,
  PluginContext,
  Statistics,
} from "../../kernel/plugin.ts";
import {
  concernsRow,
  type IpvsAnswer,
  type IpvsRow,
  ipvsRows,
  ipvsSummary,
  type ProxyWhyAnswer,
  proxyWhyAnswer,
  type Reached,
  type Target,
} from "./answers.ts";
import type { MarkedService } from "./dsr.ts";
import type { InsideMarks } from "./inside.ts";
import type { ProxyOptions } from "./options.ts";
import { listServices, type ServiceListAnswer } from "./service-list.ts";
import type { ServiceContext } from "./service-plan.ts";

/** What of the proxy's own state the answers are made of. */
export interface Questioned {
  shared(): ServiceContext;
  slicesOf(unit: string): readonly EndpointSlice[];
  marked(unit: string): MarkedService | undefined;
  inside(unit: string): InsideMarks;
  behind(unit: string, mark: number, family: Family): Reached | undefined;
}

/** Rows that one answer holds at most, where the question says no number. */
const MOST_ROWS = 1_000;
const MOST_LISTED = 500;

export function answerQuestions(
  context: PluginContext<ProxyOptions>,
  questioned: Questioned,
): void {
  const { answer, holder, node, options, statistics, stores, tables } = context;
  const unitOf = ({ key }: IpvsServiceId) => holder(tables.ipvsServices, key);
  const rows = async (
    { ipvsEntries }: Statistics,
    only: (id: IpvsServiceId) => boolean,
    most: number,
  ): Promise<{ readonly services: readonly IpvsRow[]; readonly left: number }> => {
    const { entries, left } = await ipvsEntries(only, most);
    return {
      services: ipvsRows(entries, unitOf, questioned.behind, (unit) => stores.services.get(unit)),
      left,
    };
  };
  if (statistics !== undefined) {
    answer("ipvs", (query) => statistics.ipvsTable(Number(query.get("most") ?? Infinity)));
    answer("summary", async () => ipvsSummary(await statistics.ipvsServices(), unitOf));
    answer("table", async (query): Promise<IpvsAnswer> => {
      const wanted = query.getAll("of");
      const concerned = (id: IpvsServiceId): boolean => {
        if (wanted.length === 0) return true;
        const service = unitOf(id);
        const reached = id.fwmark === 0 || service === undefined
          ? undefined
          : questioned.behind(service, id.fwmark, id.family);
        const { address } = reached ?? id;
        return wanted.some((text) => concernsRow(text, { key: id.key, service, address }));
      };
      const most = Number(query.get("most") ?? MOST_ROWS);
      return { node, ...await rows(statistics, concerned, most) };
    });
  }
  answer("services", async (query): Promise<ServiceListAnswer> => {
    const rates = await ratesOf(statistics, unitOf);
    return listServices(stores.services.values(), questioned.slicesOf, rates, {
      offset: numberOf(query, "offset", 0),
      limit: Math.min(numberOf(query, "limit", 50), MOST_LISTED),
      find: query.get("find") ?? "",
      order: query.get("order") === "name" ? "name" : "rate",
    });
  });
  answer("why", async (query): Promise<ProxyWhyAnswer> => {
    const found = proxyWhyAnswer({
      context: questioned.shared(),
      services: stores.services.values(),
      slicesOf: questioned.slicesOf,
      marked: questioned.marked,
      inside: questioned.inside,
      holder: (key) => holder(tables.ipvsServices, key),
      hairpinAlways: options.hairpinMode,
      masqueradeAll: options.masqueradeAll,
      permitAll: options.ipvsPermitAll,
    }, targetOf(query));
    if (statistics === undefined || found.frontends.length === 0) return found;
    const keys = new Set(
      found.frontends.flatMap(({ key, inside }) =>
        inside === undefined ? [key] : [key, inside.key]
      ),
    );
    const { services } = await rows(statistics, ({ key }) => keys.has(key), keys.size);
    return {
      ...found,
      frontends: found.frontends.map((front) => {
        const { inside, ...rest } = front;
        const living = <T extends { readonly key: string }>(one: T) => {
          const live = services.find(({ key }) => key === one.key);
          return live === undefined ? one : { ...one, live };
        };
        return { ...living(rest), ...(inside === undefined ? {} : { inside: living(inside) }) };
      }),
    };
  });
}

/** Rates of each Service, all of its virtual services together. */
async function ratesOf(
  statistics: Statistics | undefined,
  unitOf: (id: IpvsServiceId) => string | undefined,
): Promise<Map<string, Pick<IpvsCounters, "connectionRate" | "inByteRate" | "outByteRate">>> {
  const rates = new Map<
    string,
    { connectionRate: number; inByteRate: number; outByteRate: number }
  >();
  for (const { id, counters } of await statistics?.ipvsServices() ?? []) {
    const unit = unitOf(id);
    if (unit === undefined) continue;
    const sum = rates.get(unit) ?? { connectionRate: 0, inByteRate: 0, outByteRate: 0 };
    sum.connectionRate += counters.connectionRate;
    sum.inByteRate += counters.inByteRate;
    sum.outByteRate += counters.outByteRate;
    rates.set(unit, sum);
  }
  return rates;
}

/** @throws {RangeError} */
function numberOf(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name);
  if (text === null) return fallback;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new RangeError(`"${text}" is no ${name}; it is a number from 0`);
}

const PROTOCOLS: readonly IpvsProtocol[] = ["tcp", "udp", "sctp"];

/** @throws {RangeError} */
function targetOf(query: URLSearchParams): Target {
  const text = query.get("address") ?? "";
  const address = canonicalIp(text);
  if (address === undefined) throw new RangeError(`"${text}" is no address`);
  const name = query.get("protocol") ?? "tcp";
  const protocol = PROTOCOLS.find((each) => each === name);
  if (protocol === undefined) {
    throw new RangeError(`"${name}" is no protocol of a Service; choose tcp, udp or sctp`);
  }
  const port = Number(query.get("port"));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new RangeError(`"${query.get("port")}" is no port; choose 1 to 65535`);
  }
  return { address, protocol, port };
}
