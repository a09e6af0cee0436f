/** What the checks see of this host; tests give their own. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { networkInterfaces, release } from "node:os";
import { IptablesTool } from "../../kernel/dataplane/linux/iptables-tool.ts";
import { mayHold } from "../../kernel/dataplane/linux/netfilter.ts";
import { type NftTableName, nftTables } from "../../kernel/dataplane/linux/nft/tables.ts";
import { type LinkInfo, Rtnl } from "../../kernel/dataplane/linux/rtnl.ts";

export interface DoctorHost {
  readonly isRoot: boolean;
  readonly release: string;
  /** Text of a file, undefined where it cannot be read. */
  read(path: string): string | undefined;
  exists(path: string): boolean;
  /** Names in a folder, sorted; none where it cannot be read. */
  list(path: string): readonly string[];
  /** Names of the programs that run here, as far as /proc tells. */
  readonly processes: readonly { readonly pid: number; readonly name: string }[];
  readonly links: readonly LinkInfo[];
  /** Addresses by link. */
  readonly addresses: readonly { readonly link: string; readonly address: string }[];
  /** Names of iptables' chains, by table, of both families together; undefined where they cannot be read. */
  readonly chains: readonly { readonly table: string; readonly chain: string }[] | undefined;
  readonly nftTables: readonly NftTableName[];
  /** Which variant of iptables is used: "legacy", "nft", "" for the only one; undefined: none. */
  readonly iptables: string | undefined;
}

/** Reads this host. Nothing that fails stops the rest. */
export async function readHost(isRoot: boolean): Promise<DoctorHost> {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined;
    }
  };
  const list = (path: string): readonly string[] => {
    try {
      return readdirSync(path).toSorted();
    } catch {
      return [];
    }
  };
  const rtnl = new Rtnl();
  const links = await rtnl.links().catch(() => []);
  rtnl.close();
  const tool = new IptablesTool();
  const found = await tool.found().catch(() => undefined);
  return {
    isRoot,
    release: release(),
    read,
    exists: existsSync,
    list,
    processes: list("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
      const name = read(`/proc/${pid}/comm`)?.trim();
      return name === undefined ? [] : [{ pid: Number(pid), name }];
    }),
    links,
    addresses: Object.entries(networkInterfaces()).flatMap(([link, all = []]) =>
      all.map(({ address }) => ({ link, address }))
    ),
    chains: found === undefined ? undefined : await chainsOf(tool),
    nftTables: mayHold("nftables") ? await nftTables().catch(() => []) : [],
    iptables: found?.variant,
  };
}

async function chainsOf(tool: IptablesTool): Promise<DoctorHost["chains"]> {
  const chains: { table: string; chain: string }[] = [];
  let known = false;
  for (const family of [4, 6] as const) {
    try {
      chains.push(...chainsIn(await tool.save(family)));
      known = true;
    } catch {
      continue;
    }
  }
  return known ? chains : undefined;
}

/** The chains of what `iptables-save` prints. */
export function chainsIn(
  save: string,
): readonly { readonly table: string; readonly chain: string }[] {
  let table = "";
  return save.split("\n").flatMap((line) => {
    if (line.startsWith("*")) table = line.slice(1);
    const chain = /^:(\S+)/.exec(line)?.[1];
    return chain === undefined ? [] : [{ table, chain }];
  });
}
