/** The firewall's figures as rows of the table. */

import type { Row } from "../agent/report.ts";
import { median, quantile } from "../agent/statistics.ts";
import type { FirewallResult } from "./main.ts";

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
  const { pods, policies, lines, syncs, tools, labels, looks, conntrack } = result;
  const round = median(syncs.map(({ roundMs }) => roundMs));
  const sets = median(syncs.map(({ setsMs }) => setsMs));
  const theirSets = median(tools.map((one) => one.sets));
  const theirRules = median(tools.map((one) => one.rules));
  const whole = theirSets + theirRules;
  const late = quantile(labels, 0.99);
  const look = median(looks);
  const list = median(conntrack);
  return [
    {
      what: `(k) firewall: ${grouped(pods)} pods × ${
        grouped(policies)
      } policies, stores in sync to Linux`,
      figure: `${ms(round)}, ${times(round / whole)} the time of the host's tools alone`,
      target: "≤ 1 ×",
      met: round <= whole,
      beside: `\`ipset restore\` ${ms(theirSets)}, \`iptables-restore\` of both families ${
        ms(theirRules)
      }; ${grouped(lines.members)} members, ${grouped(lines.rules)} rules`,
    },
    {
      what: "(k) of it the sets",
      figure: `${ms(sets)}, ${times(theirSets / sets)} faster than \`ipset restore\``,
      target: "≥ 10 ×",
      met: theirSets / sets >= 10,
      beside: "a cold process, and what Linux itself needs to enlarge large sets",
    },
    {
      what: "(l) one label of a pod, arrival to Linux, 99th percentile",
      figure: `${late.toFixed(1)} ms`,
      target: "< 5 ms",
      met: late < 5,
      beside: `${labels.length} changes, median ${median(labels).toFixed(1)} ms, worst ${
        Math.max(...labels).toFixed(1)
      } ms`,
    },
    {
      what: `(m) resident memory at ${grouped(result.manyPods)} pods × ${
        grouped(policies)
      } policies`,
      figure: `${result.manyMemory.toFixed(0)} MB`,
      target: "< 250 MB",
      met: result.manyMemory < 250,
      beside: `first round ${ms(result.manyRoundMs)}; at ${grouped(pods)} pods ${
        result.memory.toFixed(0)
      } MB`,
    },
    {
      what: `(n) ${grouped(result.flows)} connections looked at against policies`,
      figure: `${ms(look)}, ${times(look / list)} the time of \`conntrack -L\``,
      target: "–",
      met: true,
      beside: `\`conntrack -L\` ${ms(list)}; changes go on meanwhile`,
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
