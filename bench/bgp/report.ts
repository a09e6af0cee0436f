/** The speaker's figures beside those of BIRD, FRR and GoBGP. */

import type { Row } from "../agent/report.ts";
import { median, quantile } from "../agent/statistics.ts";
import type { LinuxResult } from "./linux.ts";
import type { BgpResult } from "./main.ts";

/** A daemon that has not sent all by then is not waited for: GoBGP had not sent half a million after three minutes. */
export const MOST_SEND_MS = 20_000;

interface Line {
  readonly what: string;
  readonly unit: string;
  /** Median by daemon. */
  readonly by: Readonly<Record<string, number>>;
}

function line<T>(
  what: string,
  unit: string,
  results: Readonly<Record<string, readonly T[]>>,
  value: (result: T) => number,
): Line {
  const by = Object.entries(results).map(([name, list]) => [name, median(list.map(value))]);
  return { what, unit, by: Object.fromEntries(by) };
}

export function linesOf({ feeds, peers, linux }: BgpResult): readonly Line[] {
  return [
    ...feeds.flatMap((feed) => {
      const { count, what, sent } = kindOf(feed);
      return [
        line(`receive ${count}${what}, time`, "ms", feed, ({ receive }) => receive.wall),
        line(`receive ${count}${what}, CPU`, "ms", feed, ({ receive }) => receive.cpu),
        line(
          `receive ${count}${what}, memory a route`,
          "B",
          feed,
          ({ receive }) => receive.perRoute,
        ),
        ...(sent
          ? [
            line(`send ${count} to a new peer, time`, "ms", feed, ({ send }) => send?.wall ?? NaN),
            line(`send ${count} to a new peer, CPU`, "ms", feed, ({ send }) => send?.cpu ?? NaN),
          ]
          : []),
      ];
    }),
    ...(peers === undefined ? [] : [
      line("500 internal peers, all reflected to all, time", "ms", peers, ({ wall }) => wall),
      line("500 internal peers, all reflected to all, CPU", "ms", peers, ({ cpu }) => cpu),
      line("500 internal peers, memory", "MB", peers, ({ rss }) => rss / 1e6),
      line("500 internal peers, keepalives alone", "%", peers, ({ steady }) => steady),
    ]),
    ...(linux === undefined ? [] : [
      {
        what: "withdrawn VIP to Linux, 99th percentile",
        unit: "ms",
        by: byName(linux, ({ withdrawals }) => quantile(withdrawals, 0.99)),
      },
      {
        what: "withdrawn VIP to Linux, median",
        unit: "ms",
        by: byName(linux, ({ withdrawals }) => median(withdrawals)),
      },
      {
        what: "longest silence while 10,000 Services are synced",
        unit: "ms",
        by: byName(linux, ({ silence }) => silence ?? NaN),
      },
    ]),
  ];
}

function kindOf(feed: BgpResult["feeds"][number]) {
  const [one] = Object.values(feed)[0] ?? [];
  const what = one?.family === 6 ? " IPv6" : "";
  return { count: one?.count ?? 0, what, sent: one?.send !== undefined };
}

function byName(
  linux: NonNullable<BgpResult["linux"]>,
  value: (result: LinuxResult) => number,
): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(linux).map(([name, one]) => [name, value(one)]));
}

/** For people: figures, and theirs by ours. */
export function printed(result: BgpResult): string {
  return linesOf(result).map(({ what, unit, by }) => {
    const ours = by["routelet"];
    const cells = Object.entries(by).map(([name, value]) => {
      const ratio = name === "routelet" || ours === undefined
        ? ""
        : ` (${(value / ours).toFixed(1)} ×)`;
      return `${name} ${value.toFixed(value < 10 ? 1 : 0)} ${unit}${ratio}`;
    });
    return `${what.padEnd(50)} ${cells.join(", ")}`;
  }).join("\n");
}

/** As rows of the table. */
export function bgpRows(result: BgpResult | undefined): readonly Row[] {
  if (result === undefined) {
    return [{
      what: "(o) to (r) BGP",
      figure: "not measured",
      target: "–",
      met: false,
      beside: "it needs root, BIRD, FRR and GoBGP on the host",
    }];
  }
  const { feeds, peers, linux } = result;
  return [
    ...feeds.flatMap((feed) => {
      const { count: number, what, sent } = kindOf(feed);
      const count = grouped(number);
      return [
        row(
          `(o) ${count}${what} prefixes received, time`,
          line("", "ms", feed, ({ receive }) => receive.wall),
          line("CPU", "ms", feed, ({ receive }) => receive.cpu),
        ),
        limited(
          `(o) memory of each of ${count}${what} routes`,
          line("", "B", feed, ({ receive }) => receive.perRoute),
          // An address of IPv6 has twelve bytes more.
          what === "" ? 120 : 132,
        ),
        ...(sent
          ? [row(
            `(p) ${count} prefixes sent to a new peer, time`,
            line("", "ms", feed, ({ send }) => send?.wall ?? NaN),
            line("CPU", "ms", feed, ({ send }) => send?.cpu ?? NaN),
          )]
          : []),
      ];
    }),
    ...(peers === undefined ? [] : [
      row(
        "(q) 500 internal peers with a route each, reflected to all, CPU",
        line("", "ms", peers, ({ cpu }) => cpu),
        line("from the last session to the last route", "ms", peers, ({ wall }) => wall),
      ),
      row(
        "(q) their keepalives, share of a core",
        line("", "%", peers, ({ steady }) => steady),
        line("memory", "MB", peers, ({ rss }) => rss / 1e6),
      ),
    ]),
    ...(linux === undefined ? [] : linuxRows(linux)),
  ];
}

function linuxRows(linux: NonNullable<BgpResult["linux"]>): readonly Row[] {
  const late = byName(linux, ({ withdrawals }) => quantile(withdrawals, 0.99));
  const middle = byName(linux, ({ withdrawals }) => median(withdrawals));
  const silence = linux["routelet"]?.silence;
  return [
    row(
      "(r) one withdrawn VIP to Linux, 99th percentile",
      { what: "", unit: "ms", by: late },
      { what: "median", unit: "ms", by: middle },
    ),
    ...(silence === undefined ? [] : [{
      what: "(r) longest silence towards a peer while 10,000 Services are synced",
      figure: `${silence.toFixed(0)} ms`,
      target: "≤ 1.5 s",
      met: silence <= 1500,
      beside: "hold time 3 s: a keepalive is due each second, and half the hold time is safe",
    }]),
  ];
}

/** Ours, by theirs; faster than each of them is what is asked for. */
function row(what: string, { by, unit }: Line, beside: Line): Row {
  const ours = by["routelet"] ?? NaN;
  const others = Object.entries(by).filter(([name]) => name !== "routelet");
  return {
    what,
    figure: `${text(ours, unit)}; ${
      others.map(([name, value]) => `${NAMES[name] ?? name} takes ${(value / ours).toFixed(1)} ×`)
        .join(", ")
    }`,
    target: "faster than each",
    met: others.length > 0 && others.every(([, value]) => ours < value),
    beside: `${cells({ what: "", unit, by })}; ${cells(beside)}`,
  };
}

function limited(what: string, { by, unit }: Line, most: number): Row {
  const ours = by["routelet"] ?? NaN;
  return {
    what,
    figure: text(ours, unit),
    target: `< ${most} ${unit}`,
    met: ours < most,
    beside: cells({ what: "", unit, by }),
  };
}

const NAMES: Readonly<Record<string, string>> = {
  routelet: "ours",
  bird: "BIRD",
  frr: "FRR",
  gobgp: "GoBGP",
};

function cells({ what, unit, by }: Line): string {
  const all = Object.entries(by).map(([name, value]) =>
    `${NAMES[name] ?? name} ${text(value, unit)}`
  ).join(", ");
  return what === "" ? all : `${what}: ${all}`;
}

function text(value: number, unit: string): string {
  if (unit === "ms" && value === MOST_SEND_MS) return `> ${grouped(value)} ms`;
  return `${value < 10 ? value.toFixed(1) : grouped(Math.round(value))} ${unit}`;
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}
