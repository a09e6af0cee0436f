/** Metrics of a third party's plugin: measured in its process, kept by the agent. */

import type { Metrics } from "../observe/metrics.ts";
import type { PluginMetrics } from "../third-party.ts";
import type { FromGuest, MetricType } from "./messages.ts";

type MetricMessage = Extract<FromGuest, { type: "metric" }>;

/** The process's side: each measurement is a message. */
export function messageMetrics(post: (message: FromGuest) => void): PluginMetrics {
  const make =
    (metric: MetricType) =>
    (name: string, help: string, labels: readonly string[] = [], buckets?: readonly number[]) => {
      const common = {
        type: "metric",
        metric,
        name,
        help,
        labels,
        ...(buckets === undefined ? {} : { buckets }),
      } as const;
      const measure = (value: number, of = {}): void => post({ ...common, value, of });
      return {
        inc: (by = 1, of = {}) => measure(by, of),
        set: measure,
        observe: measure,
        reset: () => post(common),
      };
    };
  return { counter: make("counter"), gauge: make("gauge"), histogram: make("histogram") };
}

/** Series of one plugin: each stays in the agent's memory for as long as it runs. */
export const MOST_SERIES = 20_000;

/**
 * The agent's side: takes measurements of one plugin. Names carry the plugin's, so that none meets another's.
 *
 * @returns takes one. @throws {Error} where prom-client does not take a name, a label or a value, or there are too many series
 */
export function metricTaker(
  metrics: Metrics,
  plugin: string,
  most = MOST_SERIES,
): (message: MetricMessage) => void {
  const series = new Map<string, Set<string>>();
  let count = 0;
  return (message) => {
    const { metric, labels, buckets, value } = message;
    const help = String(message.help);
    const name = `plugin_${plugin.replaceAll("-", "_")}_${message.name}`;
    // prom-client escapes texts alone: of anything else a quote would spoil the page for everybody.
    const of = Object.fromEntries(
      Object.entries(message.of ?? {}).map(([key, each]) => [key, String(each)]),
    );
    if (metric === "gauge" && value === undefined) {
      metrics.gauge(name, help, labels).reset();
      count -= series.get(name)?.size ?? 0;
      series.delete(name);
      return;
    }
    const key = JSON.stringify(Object.entries(of).toSorted(([a], [b]) => a < b ? -1 : 1));
    const known = series.get(name)?.has(key) === true;
    if (!known && count >= most) {
      throw new Error(
        `the plugin has ${most} series already; give labels that take few values`,
      );
    }
    if (metric === "counter") metrics.counter(name, help, labels).inc(value, of);
    else if (metric === "histogram") {
      metrics.histogram(name, help, labels, buckets).observe(value ?? 0, of);
    } else metrics.gauge(name, help, labels).set(value ?? 0, of);
    if (known) return;
    count++;
    series.set(name, (series.get(name) ?? new Set()).add(key));
  };
}
