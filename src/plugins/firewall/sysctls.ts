import type { Family } from "../../kernel/ip.ts";
import type { Sysctl } from "../../kernel/plugin.ts";

/** Packets between two pods of one bridge must pass netfilter, or no rule sees them. */
export function sysctls(families: readonly Family[]): readonly Sysctl[] {
  return families.map((family) => ({
    path: `net/bridge/bridge-nf-call-${family === 4 ? "iptables" : "ip6tables"}`,
    value: "1",
  }));
}
