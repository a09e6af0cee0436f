/** What kube-proxy or kube-router left on this node, and what becomes of it. Pure. */

import { canonicalIp } from "../../kernel/ip.ts";
import type { NftTableName } from "../../kernel/dataplane/linux/nft/tables.ts";
import type { LinkInfo } from "../../kernel/dataplane/linux/rtnl.ts";
import type { Actual } from "../../kernel/dataplane/resource.ts";
import type { IpvsService } from "../../kernel/dataplane/resources/ipvs.ts";
import type { RuleInfo } from "../../kernel/dataplane/linux/rule.ts";
import { directRules, type DirectThing, directThings, type PodTunnel } from "./direct-return.ts";
import { isProxySet, proxyRemoval } from "./netfilter-text.ts";

export type Origin = "kube-proxy" | "kube-router";

/** What was read of this node. */
export interface Left {
  readonly links: readonly LinkInfo[];
  readonly addresses: readonly { readonly link: string; readonly address: string }[];
  readonly ipvs: readonly Actual<IpvsService>[];
  readonly nodePorts: { readonly from: number; readonly to: number };
  /** What `iptables-save` prints, by family. */
  readonly saves: readonly { readonly family: 4 | 6; readonly text: string }[];
  readonly sets: readonly string[];
  readonly nftTables: readonly NftTableName[];
  /** Policy rules of others. */
  readonly rules: readonly RuleInfo[];
  readonly tunnels: readonly PodTunnel[];
}

export type Thing =
  /** Ours from now on, in place. */
  | { readonly do: "adopt"; readonly what: "link"; readonly name: string; readonly text: string }
  | DirectThing
  | {
    readonly do: "remove";
    readonly what: "rules";
    readonly family: 4 | 6;
    /** For `iptables-restore`. */
    readonly restore: string;
    readonly text: string;
  }
  | { readonly do: "remove"; readonly what: "set"; readonly name: string; readonly text: string }
  | {
    readonly do: "remove";
    readonly what: "table";
    readonly table: NftTableName;
    readonly text: string;
  }
  | {
    readonly do: "remove";
    readonly what: "link";
    readonly index: number;
    readonly text: string;
  };

/** The link that carries an origin's VIPs. */
export const VIP_LINKS: Readonly<Record<Origin, string>> = {
  "kube-proxy": "kube-ipvs0",
  "kube-router": "kube-dummy-if",
};

/** What there is to do, in the order in which it is done: what is adopted first. */
export function thingsLeft(origin: Origin, left: Left): readonly Thing[] {
  const vipLink = left.links.find(({ name, type, alias }) =>
    name === VIP_LINKS[origin] && type === "dummy" && !alias.startsWith("routelet:")
  );
  const things: Thing[] = servicesOf(left, VIP_LINKS[origin], vipLink !== undefined);
  if (origin === "kube-router") {
    const direct = left.saves.map(({ family, text }) => ({ family, ...directRules(family, text) }));
    things.push(...directThings({ ...left, marks: direct.flatMap(({ marks }) => marks) }));
    if (vipLink !== undefined) {
      const { name } = vipLink;
      const count = left.addresses.filter(({ link }) => link === name).length;
      things.push({
        do: "adopt",
        what: "link",
        name,
        text: `link ${name} with ${count} addresses`,
      });
    }
    // The agent's own chain gives the same marks, so these can go while packets come.
    for (const { family, rules } of direct) {
      if (rules.length === 0) continue;
      things.push({
        do: "remove",
        what: "rules",
        family,
        restore: `*mangle\n${rules.map((rule) => `-D ${rule}\n`).join("")}COMMIT\n`,
        text: rules.map((rule) => `${family === 6 ? "ip6tables" : "iptables"} -t mangle -D ${rule}`)
          .join("\n"),
      });
    }
    return things;
  }
  for (const { family, text } of left.saves) {
    const { lines, text: restore } = proxyRemoval(text);
    if (lines.length === 0) continue;
    const named = family === 6 ? lines.map((line) => line.replace("iptables", "ip6tables")) : lines;
    things.push({ do: "remove", what: "rules", family, restore, text: named.join("\n") });
  }
  for (const name of left.sets.filter(isProxySet)) {
    things.push({ do: "remove", what: "set", name, text: `ipset destroy ${name}` });
  }
  for (const table of left.nftTables.filter(({ name }) => name === "kube-proxy")) {
    things.push({
      do: "remove",
      what: "table",
      table,
      text: `nft delete table ${table.family} ${table.name}`,
    });
  }
  if (vipLink !== undefined) {
    const { name, index } = vipLink;
    things.push({ do: "remove", what: "link", index, text: `ip link delete ${name}` });
  }
  return things;
}

/**
 * The virtual services that were the origin's: those of the VIPs on its link, and those of node ports on addresses of the
 * host. Its link must be there as evidence; others' services on other addresses stay theirs.
 */
function servicesOf({ ipvs, addresses, nodePorts }: Left, link: string, evident: boolean): Thing[] {
  if (!evident) return [];
  const on = (own: boolean) =>
    new Set(
      addresses.flatMap((each) =>
        (each.link === link) === own ? canonicalIp(each.address) ?? [] : []
      ),
    );
  const [vips, hosts] = [on(true), on(false)];
  return ipvs.filter(({ owned, item: { id } }) =>
    !owned && id.fwmark === 0 &&
    (vips.has(id.address) ||
      (hosts.has(id.address) && id.port >= nodePorts.from && id.port <= nodePorts.to))
  ).map(({ item: { id, scheduler } }): Thing => ({
    do: "adopt",
    what: "ipvs",
    key: id.key,
    text: `ipvs service ${id.key} ${scheduler}`,
  }));
}

/** What can be done now, and why the rest cannot. @param agent whether one runs on this node, and is ready */
export function doable(
  things: readonly Thing[],
  agent: "none" | "starting" | "ready",
): { readonly now: readonly Thing[]; readonly later: readonly string[] } {
  const adopts = things.filter((thing) => thing.do === "adopt");
  const removes = things.filter((thing) => thing.do === "remove");
  const later: string[] = [];
  if (adopts.length > 0 && agent !== "none") {
    later.push(
      `${adopts.length} things can be adopted only while no agent runs: stop it (Services go on), run this again, start it`,
    );
  }
  if (removes.length > 0 && agent !== "ready") {
    later.push(
      `${removes.length} things are removed only beside an agent that is ready and runs the service proxy, so that Services are served all the ` +
        "time: start it, then run this again",
    );
  }
  return {
    now: [...(agent === "none" ? adopts : []), ...(agent === "ready" ? removes : [])],
    later,
  };
}
