/**
 * Metrics in Prometheus' text form. Names are given without the prefix `kube_router_`, which they carry so that dashboards
 * made for kube-router work; those that begin with `kubeproxy_` are kube-proxy's and stay as they are.
 */
import type { Counter as PromCounter, Gauge as PromGauge, Registry } from "prom-client";
import { requestUrl } from "../request-url.ts";
import { type Listening, listenTcp } from "./listen.ts";

export type Labels = Readonly<Record<string, string | number>>;

/** Only goes up. */
export interface Counter {
  inc(by?: number, labels?: Labels): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** Drops all series; those that are set afterwards remain. */
  reset(): void;
}

/** Durations, in seconds. */
export interface Histogram {
  observe(seconds: number, labels?: Labels): void;
}

/** One value of a series that is read when it is asked for. */
export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/** What plugins measure with. A name that is asked for again gives the same metric. */
export interface PluginMetrics {
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  /** @param buckets upper bounds in seconds; absent: 0.005 to 10 s */
  histogram(
    name: string,
    help: string,
    labels?: readonly string[],
    buckets?: readonly number[],
  ): Histogram;
}

/** What parts of the agent measure with. */
export interface Metrics extends PluginMetrics {
  /** A metric whose series are read at each scrape, for example from Linux; a read that fails leaves it out. */
  sampled(
    type: "counter" | "gauge",
    name: string,
    help: string,
    labels: readonly string[],
    read: () => Iterable<Sample> | Promise<Iterable<Sample>>,
  ): void;
}

/** Metrics that can be read. */
export interface MetricsRegistry extends Metrics {
  /** All metrics in Prometheus' text form. */
  text(): Promise<string>;
  readonly contentType: string;
}

const NOTHING = { inc() {}, set() {}, reset() {}, observe() {} };

/** Measures nothing: what parts get when `--metrics-port` is off. */
export const noMetrics: Metrics = {
  counter: () => NOTHING,
  gauge: () => NOTHING,
  histogram: () => NOTHING,
  sampled() {},
};

const PREFIX = "kube_router_";
/** Prometheus' own defaults, in seconds. */
const DEFAULT_BUCKETS: readonly number[] = [
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
];

/** A metric's name as Prometheus sees it. */
export function fullName(name: string): string {
  return name.startsWith("kubeproxy_") ? name : PREFIX + name;
}

/** Makes a registry. prom-client is loaded only here: most agents run without metrics. */
export async function createMetrics(): Promise<MetricsRegistry> {
  const client = await import("prom-client");
  const registry: Registry = new client.Registry();
  const known = new Map<string, unknown>();
  const once = <T>(name: string, make: (config: { name: string; registers: Registry[] }) => T) => {
    const metric = known.get(name) ?? make({ name: fullName(name), registers: [registry] });
    known.set(name, metric);
    return metric as T;
  };
  // prom-client takes labels first.
  return {
    counter(name, help, labels = []) {
      const metric = once(
        name,
        (config) => new client.Counter({ ...config, help, labelNames: [...labels] }),
      );
      return { inc: (by = 1, values = {}) => metric.inc({ ...values }, by) };
    },
    gauge(name, help, labels = []) {
      const metric = once(
        name,
        (config) => new client.Gauge({ ...config, help, labelNames: [...labels] }),
      );
      return {
        set: (value, values = {}) => metric.set({ ...values }, value),
        reset: () => metric.reset(),
      };
    },
    histogram(name, help, labels = [], buckets = DEFAULT_BUCKETS) {
      const metric = once(
        name,
        (config) =>
          new client.Histogram({
            ...config,
            help,
            labelNames: [...labels],
            buckets: [...buckets],
          }),
      );
      return { observe: (seconds, values = {}) => metric.observe({ ...values }, seconds) };
    },
    sampled(type, name, help, labels, read) {
      once(name, (config) => {
        const options = { ...config, help, labelNames: [...labels] };
        return type === "counter"
          ? new client.Counter({
            ...options,
            async collect(this: PromCounter) {
              for (const { labels = {}, value } of await fresh(this, read)) {
                this.inc({ ...labels }, value);
              }
            },
          })
          : new client.Gauge({
            ...options,
            async collect(this: PromGauge) {
              for (const { labels = {}, value } of await fresh(this, read)) {
                this.set({ ...labels }, value);
              }
            },
          });
      });
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

async function fresh(
  metric: { reset(): void },
  read: () => Iterable<Sample> | Promise<Iterable<Sample>>,
): Promise<Iterable<Sample>> {
  metric.reset();
  try {
    return await read();
  } catch {
    // Whoever reads reports its own errors; one metric must not cost the scrape.
    return [];
  }
}

/** kube-router's `build_info`; `goversion` is its label for what the program runs on. */
export function buildInfo(metrics: Metrics, version: string): void {
  metrics.gauge("build_info", "Version of routelet and of Bun; always 1", ["goversion", "version"])
    .set(1, { goversion: `bun${Bun.version}`, version });
}

export interface MetricsServerOptions {
  readonly registry: MetricsRegistry;
  /** `--metrics-addr`. */
  readonly address: string;
  /** `--metrics-port`, as `metricsPort` allows. */
  readonly port: number;
  /** `--metrics-path`. */
  readonly path: string;
}

/** Whether `--metrics-port` turns metrics on: 65535 counts as off, as in kube-router. */
export function metricsOn(port: number): boolean {
  return port > 0 && port < 65535;
}

/**
 * Serves the metrics.
 *
 * @throws {Error} that names flag, address and cause when it cannot listen
 */
export function serveMetrics(options: MetricsServerOptions): Listening {
  const { registry, path } = options;
  return listenTcp({
    address: options.address,
    port: options.port,
    flags: ["--metrics-addr", "--metrics-port"],
    async fetch(request) {
      if (requestUrl(request).pathname !== path) {
        return new Response("Not found\n", { status: 404 });
      }
      return new Response(await registry.text(), {
        headers: { "Content-Type": registry.contentType },
      });
    },
  });
}
