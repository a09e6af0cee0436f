/** The measured figures as one Markdown table, beside what the project asks of itself. */

import type { StartTimes } from "./start.ts";
import { median, quantile } from "./statistics.ts";

export interface NetlinkResult {
  readonly ipvsadm: readonly number[];
  readonly c: readonly number[];
  readonly cold: readonly number[];
  readonly warm: readonly number[];
}

export interface AgentResult {
  readonly services: number;
  readonly started: readonly StartTimes[];
  readonly syncs: readonly { readonly roundMs: number }[];
  readonly memory: readonly number[];
  readonly single: readonly { readonly agentMs: number; readonly wholeMs: number }[];
  readonly afterChanges: number;
  readonly idlePercent: number;
  readonly restores: readonly number[];
  readonly edits: readonly number[];
}

/** What scale.ts measures at one size. */
export interface ScaleResult {
  readonly services: number;
  readonly endpoints: number;
  readonly syncs: readonly number[];
  readonly memory: readonly number[];
  readonly single: readonly number[];
  readonly bursts: readonly {
    readonly rounds: number;
    readonly ms: number;
    readonly ops: number;
  }[];
  readonly restores: readonly number[];
}

export interface Results {
  readonly start: readonly StartTimes[];
  readonly netlink: NetlinkResult;
  readonly agent: AgentResult;
  /** 10,000 × 10, with changes and a burst. */
  readonly wide: ScaleResult;
  /** 44,000 × 2; undefined where the lab cannot hold it. */
  readonly many: ScaleResult | undefined;
  /** 1,000 × 10, for the same burst. */
  readonly small: ScaleResult;
}

export interface Row {
  readonly what: string;
  readonly figure: string;
  readonly target: string;
  readonly met: boolean;
  /** Ratios and the figures around it. */
  readonly beside: string;
}

export function rowsOf(results: Results): readonly Row[] {
  return [...coreRows(results), ...scaleRows(results)];
}

function coreRows({ start, netlink, agent }: Results): readonly Row[] {
  const tool = median(netlink.ipvsadm);
  const cold = median(netlink.cold);
  const warm = median(netlink.warm);
  const c = median(netlink.c);
  const round = median(agent.syncs.map(({ roundMs }) => roundMs));
  const changes = agent.single.map(({ agentMs }) => agentMs);
  const late = quantile(changes, 0.99);
  const memory = Math.max(...agent.memory);
  const outside = median(start.map(({ firstRound }) => firstRound));
  const inside = median(agent.started.map(({ firstRound }) => firstRound));
  return [
    {
      what: "(a) netlink layer alone, cold process",
      figure: `${times(tool / cold)} faster than \`ipvsadm -R\`, ${times(cold / c)} the time of C`,
      target: "≥ 40 ×, ≤ 2 ×",
      met: tool / cold >= 40 && cold / c <= 2,
      beside: `${ms(cold)}; \`ipvsadm -R\` ${ms(tool)}, C ${ms(c)}`,
    },
    {
      what: "(a) the same, warm process",
      figure: `${times(tool / warm)} faster, ${times(warm / c)} the time of C`,
      target: "≥ 40 ×, ≤ 2 ×",
      met: tool / warm >= 40 && warm / c <= 2,
      beside: ms(warm),
    },
    {
      what: "(a) whole agent, synced stores to Linux",
      figure: ms(round),
      target: "< 2 s",
      met: round < 2_000,
      beside: `runs ${range(agent.syncs.map(({ roundMs }) => roundMs))}; ${
        ratio(median(agent.restores), round, "`ipvsadm -R` of its table")
      }`,
    },
    {
      what: "(b) one EndpointSlice change, event to Linux, 99th percentile",
      figure: `${late.toFixed(1)} ms`,
      target: "< 10 ms",
      met: late < 10,
      beside: `${changes.length} changes, median ${median(changes).toFixed(1)} ms, worst ${
        Math.max(...changes).toFixed(1)
      } ms; from the write at the API server median ${
        ms(median(agent.single.map(({ wholeMs }) => wholeMs)))
      }; ${ratio(median(agent.edits), median(changes), "one edit by `ipvsadm`")}`,
    },
    {
      what: "(c) resident memory after (a), the largest",
      figure: `${memory.toFixed(0)} MB`,
      target: "< 150 MB",
      met: memory < 150,
      beside: `runs ${range(agent.memory, "MB")}; after (b) ${agent.afterChanges.toFixed(0)} MB`,
    },
    {
      what: "(d) start to first round, empty node, outside user-mode Linux",
      figure: ms(outside),
      target: "< 300 ms",
      met: outside < 300,
      beside: `${
        start.every(({ complete }) => complete)
          ? "complete"
          : "this host has no IPVS: the round ends by naming it"
      }; complete inside user-mode Linux ${ms(inside)}`,
    },
    {
      what: "(e) idle, share of a core",
      figure: `${agent.idlePercent.toFixed(2)} %`,
      target: "< 1 %",
      met: agent.idlePercent < 1,
      beside: "drift checks and watches on, no full read-back in this minute",
    },
  ];
}

/** The time that kube-proxy's nftables mode is reported to need for 44,000 Services × 2 (`iptables` is no faster). */
const KUBE_PROXY_44K = "16 m 43 s";

function scaleRows({ wide, many, small }: Results): readonly Row[] {
  const wideRound = median(wide.syncs);
  const manyRound = median(many?.syncs ?? []);
  const late = quantile(wide.single, 0.99);
  const memory = Math.max(...wide.memory);
  const [large, little] = [wide.bursts[0], small.bursts[0]];
  return [
    {
      what: "(f) 10,000 × 10, synced stores to Linux",
      figure: ms(wideRound),
      target: "< 3 s",
      met: wideRound < 3_000,
      beside: ratio(median(wide.restores), wideRound, "`ipvsadm -R` of its table"),
    },
    {
      what: "(g) 44,000 × 2, synced stores to Linux",
      figure: many === undefined ? "not measured" : ms(manyRound),
      target: "< 10 s",
      met: manyRound < 10_000,
      beside: many === undefined
        ? "the lab ended: user-mode Linux needs a larger vm.max_map_count of the host"
        : `${
          ratio(median(many.restores), manyRound, "`ipvsadm -R` of its table")
        }; kube-proxy's nftables mode is reported at ${KUBE_PROXY_44K}; ${
          Math.max(...many.memory).toFixed(0)
        } MB`,
    },
    {
      what: "(h) one change at 10,000 × 10, 99th percentile",
      figure: `${late.toFixed(1)} ms`,
      target: "< 10 ms",
      met: late < 10,
      beside: `${wide.single.length} changes, median ${median(wide.single).toFixed(1)} ms`,
    },
    {
      what: "(i) resident memory at 10,000 × 10, the largest",
      figure: `${memory.toFixed(0)} MB`,
      target: "< 200 MB",
      met: memory < 200,
      beside: "after the first round, and after changes and burst",
    },
    {
      what: "(j) 1,000 slices changed at once, at 10,000 × 10 against 1,000 × 10",
      figure: large === undefined || little === undefined
        ? "not measured"
        : `${ms(large.ms)} against ${ms(little.ms)}, ${times(large.ms / little.ms)}`,
      target: "linear in changes",
      met: large !== undefined && little !== undefined && large.ops === little.ops &&
        large.ms < 2 * little.ms,
      beside: large === undefined || little === undefined
        ? ""
        : `${large.rounds} and ${little.rounds} rounds, ${large.ops} and ${little.ops} destinations written`,
    },
  ];
}

export function markdown(rows: readonly Row[]): string {
  const lines = rows.map(({ what, figure, target, met, beside }) =>
    `| ${what} | ${figure} | ${target} | ${met ? "yes" : "**no**"} | ${beside} |`
  );
  return [
    "| at 10,000 Services × 5 endpoints where nothing else is said | figure | target | met | beside it |",
    "|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

function ms(value: number): string {
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(0)} ms`;
}

function times(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ×`;
}

function range(values: readonly number[], unit = "ms"): string {
  return `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)} ${unit}`;
}

function ratio(theirs: number, ours: number, what: string): string {
  return Number.isNaN(theirs)
    ? `${what} not measured`
    : `${what} ${ms(theirs)}, ${times(theirs / ours)}`;
}
