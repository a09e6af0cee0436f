/** The speaker's figures beside those of BIRD, FRR and GoBGP. */

import { median, quantile } from "../agent/statistics.ts";
import type { LinuxResult } from "./linux.ts";
import type { BgpResult } from "./main.ts";

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
      const count = Object.values(feed)[0]?.[0]?.count ?? 0;
      return [
        line(`receive ${count}, time`, "ms", feed, ({ receive }) => receive.wall),
        line(`receive ${count}, CPU`, "ms", feed, ({ receive }) => receive.cpu),
        line(`receive ${count}, memory a route`, "B", feed, ({ receive }) => receive.perRoute),
        line(`send ${count} to a new peer, time`, "ms", feed, ({ send }) => send.wall),
        line(`send ${count} to a new peer, CPU`, "ms", feed, ({ send }) => send.cpu),
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
