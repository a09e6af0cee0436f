/** The command `ipvs`: the IPVS table with the names of Kubernetes' objects, connections and rates. */

import type { Named } from "../kernel/runtime/objects.ts";
import type { IpvsAnswer, IpvsDestinationRow, IpvsRow } from "../plugins/proxy/answers.ts";
import { askPlugin } from "./ask-plugin.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { columns } from "./text-table.ts";
import { watched } from "./watch.ts";

/** Services that a person reads at once; all of them with `--output json`. */
const MOST_SHOWN = 500;
/** Addresses that one question names: a request's head has an end. */
const NAMES_AT_ONCE = 200;

/** Prints the table; 1 where there is no answer. */
export async function ipvs(flags: Flags, io: Io, words: readonly string[]): Promise<number> {
  return await watched(flags, io, async () => {
    const query = new URLSearchParams(words.map((word): [string, string] => ["of", word]));
    query.set("most", String(flags.output === "json" ? Number.MAX_SAFE_INTEGER : MOST_SHOWN));
    const asked = await askPlugin("proxy", flags.runtimeDir, "table", query);
    if (typeof asked === "string") return { error: asked, exit: EXIT.failed };
    const answer = asked.answer as IpvsAnswer;
    const names = await namesOf(
      flags.runtimeDir,
      answer.services.flatMap(({ destinations }) => destinations.map(({ address }) => address)),
    );
    if (flags.output === "json") {
      return { text: `${JSON.stringify(withNames(answer, names), null, 2)}\n`, exit: 0 };
    }
    return { text: ipvsText(answer, names, words), exit: 0 };
  });
}

export type Names = Readonly<Record<string, Named>>;

/** Who has these addresses, as far as the agent knows. */
export async function namesOf(runtimeDir: string, addresses: readonly string[]): Promise<Names> {
  const all = [...new Set(addresses)];
  const names: Record<string, Named> = {};
  for (let i = 0; i < all.length; i += NAMES_AT_ONCE) {
    const query = new URLSearchParams(
      all.slice(i, i + NAMES_AT_ONCE).map((address): [string, string] => ["address", address]),
    );
    const asked = await askPlugin("-", runtimeDir, "names", query);
    // The table stands without names.
    if (typeof asked === "string") return names;
    Object.assign(names, asked.answer);
  }
  return names;
}

function withNames(answer: IpvsAnswer, names: Names): unknown {
  return {
    ...answer,
    services: answer.services.map((service) => ({
      ...service,
      destinations: service.destinations.map((destination) => {
        const named = names[destination.address];
        return named === undefined
          ? destination
          : { ...destination, [named.kind]: named.name, node: named.node };
      }),
    })),
  };
}

const HEAD = [
  "ADDRESS",
  "OBJECT",
  "HOW",
  "ACTIVE",
  "INACTIVE",
  "CONNECTIONS",
  "CONN/S",
  "IN/S",
  "OUT/S",
];

/** The table for people. */
export function ipvsText(
  { node, services, left }: IpvsAnswer,
  names: Names,
  words: readonly string[] = [],
): string {
  if (services.length === 0) {
    return words.length === 0
      ? `IPVS of ${node} has no services\n`
      : `IPVS of ${node} has no service of ${words.join(", ")}\n`;
  }
  const rows = services.flatMap((service) => [
    serviceRow(service),
    ...service.destinations.map((destination) => destinationRow(destination, names)),
  ]);
  const lines = columns([HEAD, ...rows]);
  if (left > 0) {
    lines.push(
      `… and ${left} more services; name a Service, a namespace or an address, or take --output json`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function serviceRow(row: IpvsRow): readonly string[] {
  const { protocol, address, port, fwmark, service, kind, portName, scheduler, persistence } = row;
  const { counters, destinations } = row;
  const sum = (field: "active" | "inactive") =>
    destinations.reduce((total, each) => total + each[field], 0);
  const named = portName === undefined || portName === "" ? "" : `:${portName}`;
  return [
    `${protocol} ${hostPort(address, port)}`,
    service === undefined ? "not ours" : `${service}${named} ${kind ?? ""}`.trimEnd(),
    [
      scheduler,
      ...(persistence === 0 ? [] : [`affinity ${persistence} s`]),
      ...(fwmark === 0 ? [] : [`mark ${fwmark}`]),
    ].join(", "),
    String(sum("active")),
    String(sum("inactive")),
    String(counters.connections),
    ...rates(counters),
  ];
}

function destinationRow(row: IpvsDestinationRow, names: Names): readonly string[] {
  const { address, port, method, weight, active, inactive, counters } = row;
  const named = names[address];
  const where = named?.kind === "pod" && named.node !== undefined ? ` on ${named.node}` : "";
  return [
    `  -> ${hostPort(address, port)}`,
    named === undefined ? "-" : `${named.kind === "node" ? "node " : ""}${named.name}${where}`,
    `${method}${weight === 1 ? "" : weight === 0 ? ", draining" : `, weight ${weight}`}`,
    String(active),
    String(inactive),
    String(counters.connections),
    ...rates(counters),
  ];
}

function rates(
  { connectionRate, inByteRate, outByteRate }: IpvsRow["counters"],
): readonly string[] {
  return [String(connectionRate), bytes(inByteRate), bytes(outByteRate)];
}

/** "980 B", "1.2 kB", "3.4 MB". */
export function bytes(count: number): string {
  let rest = count;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (rest < 1000) {
      return `${unit === "B" || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${unit}`;
    }
    rest /= 1000;
  }
  return `${rest.toFixed(1)} TB`;
}

export function hostPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
