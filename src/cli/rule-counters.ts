/** Counters of rules, read from Linux by commands that name the rules. */

import { IptablesTool } from "../kernel/dataplane/linux/iptables-tool.ts";
import { mayHold } from "../kernel/dataplane/linux/netfilter.ts";
import { parseChainName } from "../kernel/dataplane/linux/nft/names.ts";
import { nftCounters, type RuleCounter } from "../kernel/dataplane/linux/nft/counters.ts";
import type { LinuxObject } from "../plugins/firewall/answers.ts";

/** Packets that rules of a chain have met; undefined where Linux cannot be read. */
export type Counted = (object: LinuxObject) => number | undefined;

/** Reads the counters of all rules now. */
export async function counters(): Promise<Counted> {
  const tool = new IptablesTool();
  const saves = new Map<number, string>();
  const native = new Map<number, readonly RuleCounter[]>();
  for (const family of [4, 6] as const) {
    // The answer stands without its counters.
    native.set(family, mayHold("nftables") ? await nftCounters(family).catch(() => []) : []);
    if (native.get(family)?.length !== 0) continue;
    try {
      saves.set(family, await tool.save(family, { counters: true }));
    } catch {
      continue;
    }
  }
  return (object) => {
    const rules = native.get(object.family) ?? [];
    if (rules.length > 0) return packetsAmong(rules, object);
    const save = saves.get(object.family);
    return save === undefined ? undefined : packetsOf(save, object);
  };
}

/** The packets that the rules of an object have met, by the counters of nf_tables; undefined where it has no such rule. */
export function packetsAmong(
  rules: readonly RuleCounter[],
  { chain, comment }: LinuxObject,
): number | undefined {
  const found = rules.filter((rule) =>
    parseChainName(rule.chain).name === chain && rule.comment.startsWith(comment.trim())
  );
  return found.length === 0 ? undefined : found.reduce((sum, { packets }) => sum + packets, 0);
}

/** The same out of what `iptables-save -c` prints. */
export function packetsOf(save: string, { chain, comment }: LinuxObject): number | undefined {
  let packets: number | undefined;
  for (const line of save.split("\n")) {
    const found = /^\[(\d+):\d+\] -A (\S+) .*--comment "?(.*)$/.exec(line);
    if (found?.[2] !== chain || found[3]?.startsWith(comment) !== true) continue;
    packets = (packets ?? 0) + Number(found[1]);
  }
  return packets;
}
