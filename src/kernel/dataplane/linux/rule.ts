/** Policy-routing rules of ours: rtnetlink RTM_NEWRULE and RTM_DELRULE (linux/fib_rules.h). The mark is FRA_PROTOCOL. */

import type { Owner } from "../dataplane.ts";
import type { Actual, Op, Table } from "../resource.ts";
import { type Rule, rule as resource } from "../resources/rule.ts";
import { errno } from "./errno.ts";
import { type MessageReader, type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import type { Monitor } from "./monitor.ts";
import {
  AF_INET,
  AF_INET6,
  GONE,
  guarded,
  outcomes,
  type Request,
  type Rtnl,
  send,
} from "./rtnl.ts";
import { splitPrefix } from "./rtnl-route.ts";

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

/** Bytes of struct fib_rule_hdr. */
const FIB_RULE_HDR = 12;
const FR_ACT_TO_TBL = 1;
const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_SUPPRESS_IFGROUP = 13;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_PROTOCOL = 21;
/** Attributes that change what a rule matches and that a Rule cannot hold: iif, oif, goto, tun id, l3mdev, ports … */
const BEYOND_US = new Set([3, 4, 11, 12, 17, 19, 20, 22, 23, 24, 25, 26]);
const ALL_ONES = 0xffffffff;

/** A rule as Linux describes it. */
export interface RuleInfo {
  readonly rule: Rule;
  readonly protocol: number;
}

/** Decodes RTM_NEWRULE and RTM_DELRULE; undefined for others and for rules that say more than a `Rule` can. */
export function decodeRule(message: MessageReader): RuleInfo | undefined {
  if (message.type !== RTM_NEWRULE && message.type !== RTM_DELRULE) return undefined;
  const af = message.u8(0);
  if ((af !== AF_INET && af !== AF_INET6) || message.u8(7) !== FR_ACT_TO_TBL) return undefined;
  if (message.u8(3) !== 0 || (message.u32(8) & 0x2) !== 0) return undefined;
  let table = message.u8(4);
  let from = "";
  let to = "";
  let priority = 0;
  let mark = 0;
  let mask = 0;
  let protocol = 0;
  let beyond = false;
  const a = message.attributes(FIB_RULE_HDR);
  while (a.next()) {
    if (a.type === FRA_DST) to = a.address();
    else if (a.type === FRA_SRC) from = a.address();
    else if (a.type === FRA_PRIORITY) priority = a.u32();
    else if (a.type === FRA_FWMARK) mark = a.u32();
    else if (a.type === FRA_FWMASK) mask = a.u32();
    else if (a.type === FRA_TABLE) table = a.u32();
    else if (a.type === FRA_PROTOCOL) protocol = a.u8();
    // Linux always sends these two; all ones mean "not set".
    else if (a.type === FRA_SUPPRESS_PREFIXLEN || a.type === FRA_SUPPRESS_IFGROUP) {
      beyond ||= a.u32() !== ALL_ONES;
    } else beyond ||= BEYOND_US.has(a.type);
  }
  if (a.error !== undefined || beyond) return undefined;
  const marked = mark !== 0 || mask !== 0;
  return {
    rule: {
      family: af === AF_INET ? 4 : 6,
      priority,
      ...(from === "" ? {} : { from: `${from}/${message.u8(2)}` }),
      ...(to === "" ? {} : { to: `${to}/${message.u8(1)}` }),
      ...(marked ? { mark } : {}),
      ...(marked && mask !== ALL_ONES ? { mask } : {}),
      table,
    },
    protocol,
  };
}

/** Writes RTM_NEWRULE or RTM_DELRULE. */
export function writeRule(
  w: MessageWriter,
  type: number,
  flags: number,
  rule: Rule,
  protocol: number,
): void {
  const to = rule.to === undefined ? undefined : splitPrefix(rule.to);
  const from = rule.from === undefined ? undefined : splitPrefix(rule.from);
  if (rule.to !== undefined && to === undefined) return w.fail(`"${rule.to}" is no prefix`);
  if (rule.from !== undefined && from === undefined) return w.fail(`"${rule.from}" is no prefix`);
  w.begin(type, flags);
  w.rawU8(rule.family === 4 ? AF_INET : AF_INET6);
  w.rawU8(to?.[1] ?? 0);
  w.rawU8(from?.[1] ?? 0);
  w.rawU8(0);
  w.rawU8(rule.table < 256 ? rule.table : 0);
  w.rawU8(0);
  w.rawU8(0);
  w.rawU8(FR_ACT_TO_TBL);
  w.rawU32(0);
  if (to !== undefined && to[1] > 0) w.address(FRA_DST, to[0]);
  if (from !== undefined && from[1] > 0) w.address(FRA_SRC, from[0]);
  w.u32(FRA_PRIORITY, rule.priority);
  if (rule.mark !== undefined) {
    w.u32(FRA_FWMARK, rule.mark);
    w.u32(FRA_FWMASK, rule.mask ?? ALL_ONES);
  }
  w.u32(FRA_TABLE, rule.table);
  w.u8(FRA_PROTOCOL, protocol);
  w.end();
}

function request(op: Op<Rule>, i: number, owner: Owner): Request {
  return op.verb === "delete"
    ? {
      op: i,
      write: (w) => writeRule(w, RTM_DELRULE, 0, op.item, owner.protocol),
      harmless: GONE,
    }
    : {
      op: i,
      write: (w) => writeRule(w, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, op.item, owner.protocol),
    };
}

/** All rules of both families that a `Rule` can hold, whosever they are. */
export async function dumpRules(rtnl: Rtnl): Promise<readonly RuleInfo[]> {
  const found: RuleInfo[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    found.push(
      ...await rtnl.socket.dump("list rule", (w) => {
        w.begin(RTM_GETRULE);
        w.rawU8(family);
        w.rawZero(FIB_RULE_HDR - 1);
        w.end();
      }, decodeRule).catch((error: unknown) => {
        // A Linux without IPv6 has no such rules.
        if ((error as { code?: string }).code === "EOPNOTSUPP" && family === AF_INET6) return [];
        throw error;
      }),
    );
  }
  return found;
}

/** Puts an owner's mark on another's rule: its twin with our protocol number is there before it goes. */
export function takeRule(rtnl: Rtnl, { rule, protocol }: RuleInfo, owner: Owner): void {
  const describe = resource.describe(rule);
  const write = (verb: string, type: number, flags: number, number: number): void => {
    rtnl.socket.request(
      `${verb} rule`,
      (w) => writeRule(w, type, flags, rule, number),
      () => {},
      describe,
    );
  };
  try {
    write("create", RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, owner.protocol);
  } catch (error) {
    // A run that was cut off has made it already.
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
  write("delete", RTM_DELRULE, 0, protocol);
}

export function ruleTable(rtnl: Rtnl, monitor: Monitor, owner: Owner): Table<Rule> {
  async function list(): Promise<readonly Actual<Rule>[]> {
    await monitor.ready();
    const items = new Map<string, Actual<Rule>>();
    for (const { rule, protocol } of await dumpRules(rtnl)) {
      const key = resource.key(rule);
      const owned = protocol === owner.protocol;
      // Rules of several owners may be equal but for the protocol.
      if (owned || !items.has(key)) items.set(key, { item: rule, owned });
    }
    return [...items.values()];
  }

  return {
    resource,
    list,
    apply(ops) {
      return Promise.resolve(guarded(ops, () => {
        const refused = send(rtnl.socket, "write rule", ops.map((op, i) => request(op, i, owner)));
        return outcomes(
          "rule",
          ops,
          resource.key,
          refused,
          (_, refusal) =>
            refusal.errno === errno.EOPNOTSUPP ? "enable IPv6 (module ipv6)" : undefined,
        );
      }));
    },
    watch: (context) => monitor.watchRules(owner, context),
  };
}
