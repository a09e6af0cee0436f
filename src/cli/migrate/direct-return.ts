/**
 * What kube-router's direct server return left (annotation `kube-router.io/service.dsr`): firewall marks in the mangle
 * table's own chains, a virtual service and a policy rule for each mark, a tunnel with the VIP in each local pod. Pure.
 */

import type { Family } from "../../kernel/dataplane/resource.ts";
import { type Rule, rule as ruleKind } from "../../kernel/dataplane/resources/rule.ts";
import { ipvsFwmarkId, type IpvsService } from "../../kernel/dataplane/resources/ipvs.ts";
import type { Actual } from "../../kernel/dataplane/resource.ts";
import { DSR_RULE_PRIORITY, DSR_TABLE } from "../../plugins/proxy/dsr.ts";
import { markAt, markKey, Marks } from "../../plugins/proxy/marks.ts";
import { tablesOf } from "./netfilter-text.ts";

/** A mark that kube-router gave to an address, protocol and port. */
export interface DirectMark {
  readonly family: Family;
  readonly mark: number;
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
  /** The mark that this agent would give as well; false: kube-router made a detour around a collision. */
  readonly first: boolean;
}

export interface DirectRules {
  readonly marks: readonly DirectMark[];
  /** kube-router's rules, as `iptables -D` takes them. */
  readonly rules: readonly string[];
}

/** A tunnel in a network namespace of this machine. */
export interface PodTunnel {
  readonly namespace: { readonly inode: number; readonly path: string };
  readonly name: string;
  readonly alias: string;
  /** Its local end: the pod's address. */
  readonly pod: string;
  readonly addresses: readonly string[];
}

const MARKING =
  /^(?:PREROUTING|OUTPUT) -d (\S+)\/(?:32|128) -p (tcp|udp|sctp) -m \2 --dport (\d+) -j MARK --set-x?mark (0x[0-9a-f]+)(?:\/0xffffffff)?$/;
/** Also in the forms of versions before 2.2: in POSTROUTING, or by destination. */
const CLAMPING = /^(?:PREROUTING|POSTROUTING) -[sd] (\S+)\/(?:32|128) .*-j TCPMSS --set-mss \d+$/;
/** After so many collisions kube-router's own numbers are as good as a stranger's. */
const DETOURS = 64;

/** kube-router's rules among what `iptables-save` prints: a mark is its own where it is the hash of what it stands for. */
export function directRules(family: Family, save: string): DirectRules {
  const mangle = tablesOf(save).find(({ table }) => table === "mangle");
  const marks = new Map<string, DirectMark>();
  const rules: string[] = [];
  const clamps: { readonly address: string; readonly rule: string }[] = [];
  for (const { rule } of mangle?.rules ?? []) {
    const [, address = "", protocol = "", port = "", mark] = MARKING.exec(rule) ?? [];
    if (mark !== undefined) {
      const found = { address, protocol, port: Number(port), mark: Number(mark), family };
      const key = markKey(found);
      if (!isHashOf(key, found.mark)) continue;
      rules.push(rule);
      marks.set(key, { ...found, first: new Marks().take(key) === found.mark });
      continue;
    }
    const clamped = CLAMPING.exec(rule)?.[1];
    if (clamped !== undefined) clamps.push({ address: clamped, rule });
  }
  const addresses = new Set([...marks.values()].map(({ address }) => address));
  rules.push(
    ...clamps.filter(({ address }) => addresses.has(address)).map(({ rule }) => rule),
  );
  return { marks: [...marks.values()], rules };
}

function isHashOf(key: string, mark: number): boolean {
  for (let n = 0; n <= DETOURS; n++) {
    if (markAt(key, n) === mark) return true;
  }
  return false;
}

export type DirectThing =
  | { readonly do: "adopt"; readonly what: "ipvs"; readonly key: string; readonly text: string }
  | {
    readonly do: "adopt";
    readonly what: "rule";
    readonly rule: Rule;
    /** Of the one that goes when ours is there. */
    readonly protocol: number;
    readonly text: string;
  }
  | {
    readonly do: "adopt";
    readonly what: "tunnel";
    readonly tunnel: PodTunnel;
    readonly text: string;
  };

export interface DirectLeft {
  readonly marks: readonly DirectMark[];
  readonly ipvs: readonly Actual<IpvsService>[];
  /** Policy rules that are not ours, with their protocol number. */
  readonly rules: readonly { readonly rule: Rule; readonly protocol: number }[];
  readonly tunnels: readonly PodTunnel[];
}

/** What can be ours in place. A mark with a detour cannot: the agent serves its address by another one. */
export function directThings({ marks, ipvs, rules, tunnels }: DirectLeft): readonly DirectThing[] {
  const first = marks.filter((each) => each.first);
  const things: DirectThing[] = [];
  for (const { family, mark, protocol, address, port } of first) {
    const { key } = ipvsFwmarkId(family, mark);
    const service = ipvs.find(({ owned, item: { id } }) => !owned && id.key === key);
    if (service === undefined) continue;
    const host = family === 4 ? address : `[${address}]`;
    things.push({
      do: "adopt",
      what: "ipvs",
      key,
      text:
        `ipvs service ${key} ${service.item.scheduler}, direct server return of ${protocol} ${host}:${port}`,
    });
  }
  for (const { rule, protocol } of rules) {
    const its = rule.priority === DSR_RULE_PRIORITY && rule.table === DSR_TABLE &&
      first.some(({ family, mark }) => family === rule.family && mark === rule.mark);
    if (!its) continue;
    things.push({ do: "adopt", what: "rule", rule, protocol, text: ruleKind.describe(rule) });
  }
  const vips = new Set(first.map(({ address }) => address));
  for (const tunnel of tunnels) {
    const { name, alias, pod, addresses } = tunnel;
    const its = addresses.filter((address) => vips.has(address));
    if (alias !== "" || !/^kube-tunnel-(?:if|v6)$/.test(name) || its.length === 0) continue;
    const text = `tunnel ${name} in pod ${pod} with ${its.join(", ")}`;
    things.push({ do: "adopt", what: "tunnel", tunnel, text });
  }
  return things;
}
