/** Counters of each Service, by kube-router's names and labels, read from Linux at each scrape. */

import type { Family } from "../../kernel/ip.ts";
import type { PluginContext, Sample, Statistics } from "../../kernel/plugin.ts";
import type { ProxyOptions } from "./options.ts";

type Counted = Awaited<ReturnType<Statistics["ipvsServices"]>>[number];

const LABELS = ["svc_namespace", "service_name", "service_vip", "protocol", "port"] as const;

const SERIES = [
  ["counter", "service_total_connections", "Incoming connections made", "connections"],
  ["counter", "service_packets_in", "Total incoming packets", "inPackets"],
  ["counter", "service_packets_out", "Total outgoing packets", "outPackets"],
  ["counter", "service_bytes_in", "Total incoming bytes", "inBytes"],
  ["counter", "service_bytes_out", "Total outgoing bytes", "outBytes"],
  ["gauge", "service_pps_in", "Incoming packets per second", "inPacketRate"],
  ["gauge", "service_pps_out", "Outgoing packets per second", "outPacketRate"],
  ["gauge", "service_cps", "Service connections per second", "connectionRate"],
  ["gauge", "service_bps_in", "Incoming bytes per second", "inByteRate"],
  ["gauge", "service_bps_out", "Outgoing bytes per second", "outByteRate"],
] as const satisfies readonly (readonly [
  "counter" | "gauge",
  string,
  string,
  keyof Counted["counters"],
])[];

/** One scrape asks for twelve metrics at once; they share one reading of Linux. */
const FRESH_MS = 500;

/** What a virtual service is reached by. */
interface Reached {
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
}

/**
 * Adds the metrics of the Services.
 *
 * @param behind what a firewall mark of a Service stands for
 */
export function serviceMetrics(
  { metrics, statistics, holder, tables }: PluginContext<ProxyOptions>,
  behind: (unit: string, mark: number, family: Family) => Reached | undefined,
  now: () => number = () => performance.now(),
): void {
  if (statistics === undefined) return;
  const exportTime = metrics.histogram(
    "controller_ipvs_metrics_export_time",
    "Time it took to export the metrics of IPVS",
  );
  let reading: Promise<readonly Counted[]> | undefined;
  let readAt = -Infinity;
  const read = (): Promise<readonly Counted[]> => {
    if (reading !== undefined && now() - readAt < FRESH_MS) return reading;
    const start = readAt = now();
    reading = statistics.ipvsServices();
    reading.then(() => exportTime.observe((now() - start) / 1000), () => {
      reading = undefined;
    });
    return reading;
  };
  const labelsOf = ({ id }: Counted): Sample["labels"] => {
    const unit = holder(tables.ipvsServices, id.key);
    if (unit === undefined) return undefined;
    const reached = id.fwmark === 0 ? id : behind(unit, id.fwmark, id.family);
    if (reached === undefined) return undefined;
    const [namespace = "", name = ""] = unit.split("/");
    const { address, protocol, port } = reached;
    return { svc_namespace: namespace, service_name: name, service_vip: address, protocol, port };
  };
  for (const [type, name, help, field] of SERIES) {
    metrics.sampled(
      type,
      name,
      help,
      LABELS,
      async () =>
        summed((await read()).flatMap((counted): readonly Sample[] => {
          const labels = labelsOf(counted);
          return labels === undefined ? [] : [{ labels, value: counted.counters[field] }];
        })),
    );
  }
  metrics.sampled(
    "gauge",
    "controller_ipvs_services",
    "Number of IPVS services in Linux",
    [],
    async () => [{ value: (await read()).length }],
  );
}

/** One sample for each set of labels: clients inside and outside may have virtual services of their own at one address. */
function summed(samples: readonly Sample[]): readonly Sample[] {
  const sums = new Map<string, Sample>();
  for (const sample of samples) {
    const key = JSON.stringify(sample.labels);
    const { value } = sums.get(key) ?? { value: 0 };
    sums.set(key, { ...sample, value: value + sample.value });
  }
  return [...sums.values()];
}
