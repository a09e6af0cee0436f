/** The firewall's figures as rows of the table. */

import type { Row } from "../agent/report.ts";
import { median, quantile } from "../agent/statistics.ts";
import type { BackendResult, FirewallResult } from "./main.ts";

export function firewallRows(result: FirewallResult | undefined): readonly Row[] {
  if (result === undefined) {
    return [{
      what: "(k) to (n) the firewall",
      figure: "not measured",
      target: "–",
      met: false,
      beside: "it needs root, ipset, iptables and conntrack on the host",
    }];
  }
  const { looks, conntrack } = result;
  const look = median(looks);
  const list = median(conntrack);
  return [
    ...result.backends.flatMap((one) => backendRows(result, one)),
    {
      what: `(n) ${grouped(result.flows)} connections looked at against policies`,
      figure: looks.length === 0
        ? "not measured"
        : `${ms(look)}, ${times(look / list)} the time of \`conntrack -L\``,
      target: "–",
      met: true,
      beside: `\`conntrack -L\` ${ms(list)}; changes go on meanwhile`,
    },
  ];
}

function backendRows(
  { pods, policies, manyPods }: FirewallResult,
  { backend, lines, syncs, tools, labels, newPods, ...many }: BackendResult,
): readonly Row[] {
  const round = median(syncs.map(({ roundMs }) => roundMs));
  const sets = median(syncs.map(({ setsMs }) => setsMs));
  const theirSets = median(tools.map((one) => one.sets));
  const whole = median(tools.map((one) => one.whole));
  const twins = tools.flatMap(({ twin }) => twin ?? []);
  const late = quantile(labels, 0.99);
  const tool = backend === "iptables" ? "ipset restore" : "nft -f";
  const wholeBeside = backend === "iptables"
    ? `\`ipset restore\` ${ms(theirSets)}, \`iptables-restore\` of both families ${
      ms(whole - theirSets)
    }`
    : `\`nft -f\` ${ms(whole)}`;
  return [
    {
      what: `(k) firewall on ${backend}: ${grouped(pods)} pods × ${
        grouped(policies)
      } policies, stores in sync to Linux`,
      figure: `${ms(round)}, ${times(round / whole)} the time of the host's tools alone`,
      target: "≤ 1 ×",
      met: round <= whole,
      beside: `${wholeBeside}; ${grouped(lines.members)} members, ${grouped(lines.rules)} rules`,
    },
    {
      what: `(k) on ${backend}, of it the sets`,
      figure: `${ms(sets)}, ${times(theirSets / sets)} faster than \`${tool}\``,
      target: "≥ 10 ×",
      met: theirSets / sets >= 10,
      beside: `\`${tool}\` of the sets alone ${ms(theirSets)}${
        twins.length === 0
          ? ""
          : `; C that sends the same messages ${ms(median(twins))}, so Linux itself allows ${
            times(theirSets / median(twins))
          } at most`
      }`,
    },
    {
      what: `(l) on ${backend}, one label of a pod, arrival to Linux, 99th percentile`,
      figure: `${late.toFixed(1)} ms`,
      target: "< 5 ms",
      met: late < 5,
      beside: `${labels.length} changes, median ${median(labels).toFixed(1)} ms, worst ${
        Math.max(...labels).toFixed(1)
      } ms`,
    },
    {
      what: `(l) on ${backend}, a new pod of this node, arrival to Linux, 99th percentile`,
      figure: ms(quantile(newPods, 0.99)),
      target: "< 100 ms",
      met: quantile(newPods, 0.99) < 100,
      beside: `${newPods.length} pods one after the other, median ${ms(median(newPods))}, worst ${
        ms(Math.max(...newPods))
      }`,
    },
    {
      what: `(m) on ${backend}, resident memory at ${grouped(manyPods)} pods × ${
        grouped(policies)
      } policies`,
      figure: `${many.manyMemory.toFixed(0)} MB`,
      target: "< 250 MB",
      met: many.manyMemory < 250,
      beside: `at most ${many.manyPeak.toFixed(0)} MB, first round ${ms(many.manyRoundMs)}; at ${
        grouped(pods)
      } pods ${many.memory.toFixed(0)} MB`,
    },
  ];
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

function ms(value: number): string {
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(0)} ms`;
}

function times(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ×`;
}
