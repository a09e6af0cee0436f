/** Which rules and chains of iptables kube-proxy left, and the text that takes them away. Pure. */

/** Chains of kube-proxy in any of its modes. Those of the kubelet (KUBE-FIREWALL, KUBE-KUBELET-CANARY) are not among them. */
const CHAIN =
  /^KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|FORWARD|MARK-MASQ|PROXY-CANARY|PROXY-FIREWALL|LOAD-BALANCER|NODE-PORT|SOURCE-RANGES-FIREWALL|IPVS-FILTER|IPVS-OUT-FILTER|SVC-\S+|SVL-\S+|SEP-\S+|FW-\S+|EXT-\S+|XLB-\S+)$/;

/** ipsets of kube-proxy in IPVS mode (pkg/proxy/ipvs). */
const SET =
  /^KUBE-(6-)?(LOOP-BACK|CLUSTER-IP|LOAD-BALANCER(-\S+)?|EXTERNAL-IP(-\S+)?|NODE-PORT-\S+|HEALTH-CHECK-NODE-PORT|IPVS-IPS)$/;

export function isProxySet(name: string): boolean {
  return SET.test(name);
}

export interface Removal {
  /** What goes, a line each, as iptables prints it. */
  readonly lines: readonly string[];
  /** For `iptables-restore --noflush`; empty where nothing goes. */
  readonly text: string;
}

/**
 * Takes apart what `iptables-save` prints. Jumps into kube-proxy's chains go first, then the chains. A chain that somebody
 * else's chain jumps to stays, with all that it jumps to.
 */
export function proxyRemoval(save: string): Removal {
  const lines: string[] = [];
  const parts: string[] = [];
  for (const { table, chains, rules } of tablesOf(save)) {
    const stay = staying(chains, rules);
    const gone = chains.filter((chain) => CHAIN.test(chain) && !stay.has(chain));
    if (gone.length === 0) continue;
    const jumps = rules.filter(({ chain, target }) =>
      !gone.includes(chain) && gone.includes(target)
    );
    lines.push(
      ...jumps.map(({ rule }) => `iptables -t ${table} -D ${rule}`),
      ...gone.map((chain) => `iptables -t ${table} -X ${chain}`),
    );
    parts.push(
      `*${table}`,
      // Empties them as well.
      ...gone.map((chain) => `:${chain} - [0:0]`),
      ...jumps.map(({ rule }) => `-D ${rule}`),
      ...gone.map((chain) => `-X ${chain}`),
      "COMMIT",
    );
  }
  return { lines, text: parts.length === 0 ? "" : `${parts.join("\n")}\n` };
}

/** A comment may read like a jump. */
const QUOTED = /"(?:[^"\\]|\\.)*"/g;

export interface SavedRule {
  readonly chain: string;
  readonly target: string;
  /** Without the "-A ". */
  readonly rule: string;
}

export interface SavedTable {
  readonly table: string;
  readonly chains: readonly string[];
  readonly rules: readonly SavedRule[];
}

/** The tables of what `iptables-save` prints. */
export function tablesOf(save: string): readonly SavedTable[] {
  const tables: { table: string; chains: string[]; rules: SavedRule[] }[] = [];
  for (const line of save.split("\n")) {
    const current = tables.at(-1);
    if (line.startsWith("*")) tables.push({ table: line.slice(1).trim(), chains: [], rules: [] });
    const chain = /^:(\S+)/.exec(line)?.[1];
    if (chain !== undefined) current?.chains.push(chain);
    const [, of, rest] = /^-A (\S+) (.*)$/.exec(line) ?? [];
    if (of === undefined || rest === undefined) continue;
    const target = /(?:^| )-[jg] (\S+)/.exec(rest.replace(QUOTED, '""'))?.[1] ?? "";
    current?.rules.push({ chain: of, target, rule: `${of} ${rest}` });
  }
  return tables;
}

const BUILT_IN: ReadonlySet<string> = new Set([
  "PREROUTING",
  "INPUT",
  "FORWARD",
  "OUTPUT",
  "POSTROUTING",
]);

/** Chains of kube-proxy's that others' chains lead to. */
function staying(chains: readonly string[], rules: readonly SavedRule[]): ReadonlySet<string> {
  const stay = new Set<string>();
  let grown = true;
  while (grown) {
    grown = false;
    for (const { chain, target } of rules) {
      if (stay.has(target) || !CHAIN.test(target) || !chains.includes(target)) continue;
      const others = !BUILT_IN.has(chain) && !CHAIN.test(chain);
      if (!others && !stay.has(chain)) continue;
      stay.add(target);
      grown = true;
    }
  }
  return stay;
}
