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

/**
 * The agent's side: takes one measurement. Names carry the plugin's, so that none meets another's.
 *
 * @throws {Error} where prom-client does not take a name, a label or a value
 */
export function takeMetric(metrics: Metrics, plugin: string, message: MetricMessage): void {
  const { metric, labels, buckets, value } = message;
  const help = String(message.help);
  // prom-client escapes texts alone: of anything else a quote would spoil the page for everybody.
  const of = message.of === undefined
    ? undefined
    : Object.fromEntries(Object.entries(message.of).map(([key, each]) => [key, String(each)]));
  const name = `plugin_${plugin.replaceAll("-", "_")}_${message.name}`;
  if (metric === "counter") metrics.counter(name, help, labels).inc(value, of);
  else if (metric === "histogram") {
    metrics.histogram(name, help, labels, buckets).observe(value ?? 0, of);
  } else if (value === undefined) metrics.gauge(name, help, labels).reset();
  else metrics.gauge(name, help, labels).set(value, of);
}
