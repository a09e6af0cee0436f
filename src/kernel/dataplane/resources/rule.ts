import type { Family, Resource } from "../resource.ts";

/** A policy-routing rule. Mark: its protocol number (FRA_PROTOCOL) is the owner's. */
export interface Rule {
  readonly family: Family;
  readonly priority: number;
  /** Source and destination prefixes; absent means all. */
  readonly from?: string;
  readonly to?: string;
  /** Firewall mark; the mask is 0xffffffff where absent. */
  readonly mark?: number;
  readonly mask?: number;
  /** Table to look up. */
  readonly table: number;
}

function text(r: Rule): string {
  const mark = r.mark === undefined
    ? ""
    : ` fwmark 0x${r.mark.toString(16)}${r.mask === undefined ? "" : `/0x${r.mask.toString(16)}`}`;
  return `from ${r.from ?? "all"}${r.to === undefined ? "" : ` to ${r.to}`}${mark}`;
}

export const rule: Resource<Rule> = {
  kind: "rule",
  // Linux has no unique key for rules but their whole content.
  key: (r) => `ipv${r.family} ${r.priority}: ${text(r)} lookup ${r.table}`,
  equal: () => true,
  describe: (r) => `rule ipv${r.family} ${r.priority}: ${text(r)} lookup ${r.table}`,
};
