/** The proof that nothing of ours is left: all kinds by their marks once more, and what can be seen without knowing any mark. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Dataplane, Owner } from "../kernel/dataplane/dataplane.ts";
import { isUnsupported } from "../kernel/dataplane/errors.ts";
import { NETFILTER_KINDS } from "../kernel/dataplane/linux/netfilter.ts";
import { PodNamespaces, within } from "../kernel/dataplane/linux/pod-namespaces.ts";
import { Rtnl } from "../kernel/dataplane/linux/rtnl.ts";
import { removalOrder } from "../kernel/runtime/cleanup.ts";

/** Linux by the backend of packet rules that is in use, and by the other one where it may hold something. */
export type Dataplanes = readonly [inUse: Dataplane, other: Dataplane | undefined];

/** What was seen at one place. */
export interface Seen {
  readonly where: string;
  /** Of ours, each in words. */
  readonly ours: readonly string[];
  /** Number of things of others. */
  readonly others: number;
}

/** Everything by its mark, a kind at a time. Kinds that this Linux does not know hold nothing. @throws {KernelError} where a kind cannot be read */
export async function survey(
  [inUse, other]: Dataplanes,
  owners: readonly Owner[],
): Promise<readonly Seen[]> {
  const seen = [];
  for (const [dataplane, kinds] of [[inUse, undefined], [other, NETFILTER_KINDS]] as const) {
    if (dataplane === undefined) continue;
    for (const ref of removalOrder(kinds)) {
      const { resource } = ref;
      const ours = new Map<string, string>();
      const owned = new Set<string>();
      const others = new Set<string>();
      for (const owner of owners) {
        for (const have of await listed(() => dataplane.open(ref, owner).list())) {
          const key = resource.key(have.item);
          if (!have.owned) others.add(key);
          else {
            owned.add(key);
            ours.set(`${owner.name} ${key}`, `${owner.name}: ${resource.describe(have.item)}`);
          }
        }
      }
      const where = kinds === undefined ? resource.kind : `${resource.kind}, other backend`;
      // One owner's things are another's "not ours".
      seen.push({ where, ours: [...ours.values()], others: others.difference(owned).size });
    }
  }
  return seen;
}

async function listed<T>(list: () => Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await list();
  } catch (error) {
    if (isUnsupported(error)) return [];
    throw error;
  }
}

/** Our word in comments and aliases. */
const MARK = "routelet:";

/** The survey, and a look that needs no mark of ours to be understood: texts of links and of packet rules, files. */
export async function prove(
  dataplanes: Dataplanes,
  owners: readonly Owner[],
  runtimeDir: string,
): Promise<readonly Seen[]> {
  return [
    ...await survey(dataplanes, owners),
    await linksEverywhere(),
    ...packetRules(),
    files(runtimeDir),
  ];
}

async function linksEverywhere(): Promise<Seen> {
  const namespaces = new PodNamespaces();
  const pods = namespaces.all();
  // Nodes that share a machine, as in tests, have things in each other's sight: those in pods say whose they are.
  const ofThisNode = `:${namespaces.own}`;
  const ours: string[] = [];
  let others = 0;
  const look = async (rtnl: Rtnl, place: string, suffix: string): Promise<void> => {
    for (const { name, alias } of await rtnl.links()) {
      if (alias.startsWith(MARK) && alias.endsWith(suffix)) ours.push(`link ${name} in ${place}`);
      else others++;
    }
  };
  const own = new Rtnl({});
  try {
    await look(own, "the node", "");
  } finally {
    own.close();
  }
  for (const pod of pods) await within(pod, (rtnl) => look(rtnl, pod.path, ofThisNode));
  return { where: `links of ${pods.length + 1} network namespaces`, ours, others };
}

/** By the host's tools, in each variant that is there and that Linux has loaded. */
function packetRules(): readonly Seen[] {
  const path = `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;
  return (["nft", "legacy"] as const).flatMap((variant): readonly Seen[] => {
    const lines = (["iptables", "ip6tables"] as const).flatMap((tool) => {
      const command = Bun.which(`${tool}-${variant}-save`, { PATH: path });
      const names = tool === "iptables" ? "ip_tables_names" : "ip6_tables_names";
      // To ask the old tool would load its modules.
      if (command === null || (variant === "legacy" && !existsSync(`/proc/net/${names}`))) {
        return [];
      }
      const { stdout } = Bun.spawnSync([command], {
        stderr: "ignore",
        env: { PATH: path, LC_ALL: "C" },
      });
      return stdout.toString().split("\n").filter((line) => /^(-A|:\S+ -)/.test(line));
    });
    const ours = lines.filter((line) => line.includes(MARK));
    return [{
      where: `rules and chains of iptables-${variant}`,
      ours,
      others: lines.length - ours.length,
    }];
  });
}

function files(folder: string): Seen {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return { where: `files in ${folder}`, ours: names.map((name) => join(folder, name)), others: 0 };
}

/** The proof as a table, with what is left below it. */
export function proofText(proof: readonly Seen[]): string {
  const width = Math.max(...proof.map(({ where }) => where.length));
  const row = (where: string, ...counts: readonly (number | string)[]) =>
    `  ${where.padEnd(width)} ${counts.map((count) => `${count}`.padStart(9)).join("")}\n`;
  const left = proof.flatMap(({ ours }) => ours);
  const counted = proof.map(({ where, ours, others }) =>
    row(where, ours.length + others, ours.length, others)
  );
  return `${row("LOOKED AT", "ALL", "OURS", "OTHERS'")}${counted.join("")}` +
    (left.length === 0
      ? "verified: nothing of ours is left, and what is there is others'\n"
      : `${left.map((text) => `left: ${text}\n`).join("")}${left.length} of ours left\n`);
}
