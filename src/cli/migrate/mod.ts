/**
 * The command `migrate`: takes over from kube-proxy or kube-router. What carries Services is marked as ours in place, before the
 * agent starts; what is left is removed once the agent serves. Nothing is changed before it was shown.
 */

import { dumpAddresses } from "../../kernel/dataplane/linux/address.ts";
import type { KernelError } from "../../kernel/dataplane/errors.ts";
import { readList, writeDestroy, writeList } from "../../kernel/dataplane/linux/ipset-codec.ts";
import { IptablesTool } from "../../kernel/dataplane/linux/iptables-tool.ts";
import { openIpvs } from "../../kernel/dataplane/linux/ipvs.ts";
import { openLedger } from "../../kernel/dataplane/linux/ledger.ts";
import { writeAlias, writeDelete } from "../../kernel/dataplane/linux/link-messages.ts";
import { mayHold } from "../../kernel/dataplane/linux/netfilter.ts";
import { deleteNftTable, nftTables } from "../../kernel/dataplane/linux/nft/tables.ts";
import { AF_INET, AF_INET6, Rtnl } from "../../kernel/dataplane/linux/rtnl.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "../../kernel/dataplane/linux/socket.ts";
import { agentAnswers, socketPath } from "../../kernel/observe/socket.ts";
import { overAgentFlags } from "../agent-flags.ts";
import { EXIT } from "../commands.ts";
import { readHost } from "../doctor/host.ts";
import type { Flags } from "../flags.ts";
import type { Io } from "../io.ts";
import type { AgentStatus } from "../status.ts";
import { adoptRule, adoptTunnel, otherRules, podTunnels } from "./direct-linux.ts";
import { doable, type Left, type Origin, type Thing, thingsLeft } from "./found.ts";

/** Exit code where something is still to be done. */
const MORE_TO_DO = 2;
/** The plugin whose mark the VIPs and the virtual services carry. */
const OWNER = "proxy";

/** 0: nothing of the origin is left; 2: something is, or would be changed; 1: it failed. */
export async function migrate(flags: Flags, io: Io): Promise<number> {
  const origin = (["kube-proxy", "kube-router"] as const).find((name) => name === flags.from);
  if (origin === undefined) {
    io.stderr('routelet: Command "migrate" needs --from=kube-proxy or --from=kube-router\n');
    return EXIT.usage;
  }
  const settings = await overAgentFlags(flags);
  const host = await readHost(io.isRoot);
  const running = host.processes.find(({ name }) => name === origin);
  if (running !== undefined) {
    io.stderr(
      `routelet: Cannot migrate: ${origin} runs here as process ${running.pid} and would put everything back; ` +
        "remove its DaemonSet or stop it first (what it made in Linux goes on)\n",
    );
    return EXIT.failed;
  }
  const things = thingsLeft(origin, await readLeft(origin, settings, host.links));
  const agent = await agentPhase(settings.runtimeDir);
  const { now, later } = doable(things, agent);
  const done: Thing[] = [];
  const failed: string[] = [];
  if (flags.yes) {
    for (const thing of now) {
      try {
        await carryOut(thing, settings);
        done.push(thing);
      } catch (error) {
        failed.push(`Cannot ${thing.do} ${firstLine(thing)}: ${(error as KernelError).message}`);
      }
    }
  }
  if (flags.output === "json") {
    io.stdout(`${JSON.stringify({ things, done: done.length, failed, later }, null, 2)}\n`);
  } else io.stdout(migrateText(origin, { things, now, done, later, dry: !flags.yes }));
  for (const text of failed) io.stderr(`routelet: ${text}\n`);
  if (failed.length > 0) return EXIT.failed;
  return done.length === things.length ? 0 : MORE_TO_DO;
}

interface Said {
  readonly things: readonly Thing[];
  readonly now: readonly Thing[];
  readonly done: readonly Thing[];
  readonly later: readonly string[];
  readonly dry: boolean;
}

/** What was found, a line each, and what became of it. */
export function migrateText(origin: Origin, { things, now, done, later, dry }: Said): string {
  if (things.length === 0) return `${origin} left nothing here\n`;
  const lines = things.flatMap(({ do: verb, text }) =>
    text.split("\n").map((line) => `${verb === "adopt" ? "=" : "-"} ${line}`)
  );
  lines.push(
    ...(dry
      ? [
        now.length === 0
          ? "nothing of it can be done now"
          : `nothing was changed; with --yes ${counted(now)}`,
      ]
      : [done.length === 0 ? "nothing was changed" : `done: ${counted(done)}`]),
    ...later.map((text) => `then: ${text}`),
  );
  return `${lines.join("\n")}\n`;
}

function counted(things: readonly Thing[]): string {
  const count = (verb: Thing["do"]) => things.filter((thing) => thing.do === verb).length;
  return [
    ...(count("adopt") > 0 ? [`${count("adopt")} adopted`] : []),
    ...(count("remove") > 0 ? [`${count("remove")} removed`] : []),
  ].join(", ");
}

function firstLine({ text }: Thing): string {
  return text.split("\n")[0] ?? text;
}

/** How far an agent is that answers: ready is one alone that serves Services, which others can then stop to do. */
export function phaseOf({ ready, plugins = [] }: AgentStatus): "starting" | "ready" {
  const serves = plugins.some(({ name, phase }) => name === OWNER && phase === "ready");
  return ready === true && serves ? "ready" : "starting";
}

async function agentPhase(runtimeDir: string): Promise<"none" | "starting" | "ready"> {
  if (!await agentAnswers(runtimeDir)) return "none";
  try {
    const response = await fetch("http://agent/status", {
      unix: socketPath(runtimeDir),
      signal: AbortSignal.timeout(5000),
    });
    return phaseOf(await response.json() as AgentStatus);
  } catch {
    return "starting";
  }
}

async function readLeft(origin: Origin, flags: Flags, links: Left["links"]): Promise<Left> {
  const ipvs = openIpvs({ runtimeDirectory: flags.runtimeDir });
  const common = {
    links,
    addresses: await addressesOn(links),
    nodePorts: flags.serviceNodePortRange,
  };
  try {
    // Without ip_vs there is nothing to adopt.
    const services = await ipvs.services(OWNER).list().catch(() => []);
    const tool = new IptablesTool();
    const saves: { family: 4 | 6; text: string }[] = [];
    for (const family of [4, 6] as const) {
      const text = await tool.save(family).catch(() => "");
      saves.push({ family, text });
    }
    if (origin === "kube-router") {
      const [rules, tunnels] = [await otherRules(), await podTunnels()];
      return { ...common, ipvs: services, saves, sets: [], nftTables: [], rules, tunnels };
    }
    return {
      ...common,
      ipvs: services,
      saves,
      rules: [],
      tunnels: [],
      sets: await setNames().catch(() => []),
      nftTables: mayHold("nftables") ? await nftTables().catch(() => []) : [],
    };
  } finally {
    ipvs.close();
  }
}

/** All of them: kube-proxy's link is down, and Node's own list leaves out what is. */
async function addressesOn(links: Left["links"]): Promise<Left["addresses"]> {
  const rtnl = new Rtnl();
  try {
    const found = [
      ...await dumpAddresses(rtnl.socket, AF_INET),
      ...await dumpAddresses(rtnl.socket, AF_INET6),
    ];
    return found.flatMap(({ address, index }) => {
      const link = links.find((each) => each.index === index)?.name;
      return link === undefined ? [] : [{ link, address }];
    });
  } finally {
    rtnl.close();
  }
}

async function setNames(): Promise<readonly string[]> {
  const socket = new NetlinkSocket(NETLINK_NETFILTER);
  try {
    const parts = await socket.dump("list ipsets", (w) => writeList(w), readList);
    return [...new Set(parts.map(({ name }) => name))].toSorted();
  } finally {
    socket.close();
  }
}

/** @throws {KernelError} */
async function carryOut(thing: Thing, { runtimeDir }: Flags): Promise<void> {
  switch (thing.what) {
    case "ipvs": {
      const ledger = openLedger(runtimeDir, OWNER, "ipvs");
      try {
        ledger.add([thing.key]);
      } finally {
        ledger.close();
      }
      return;
    }
    case "link": {
      const rtnl = new Rtnl();
      try {
        rtnl.socket.request(
          `${thing.do} link`,
          (w) => {
            if (thing.do === "adopt") writeAlias(w, thing.name, `routelet:${OWNER}`);
            else writeDelete(w, thing.index);
          },
          () => {},
          firstLine(thing),
        );
      } finally {
        rtnl.close();
      }
      return;
    }
    case "rule":
      return adoptRule(thing, OWNER);
    case "tunnel":
      return await adoptTunnel(thing.tunnel, OWNER);
    case "rules": {
      const { status, stderr } = await new IptablesTool().restore(thing.family, thing.restore);
      if (status !== 0) throw new Error(stderr.trim());
      return;
    }
    case "set": {
      const socket = new NetlinkSocket(NETLINK_NETFILTER);
      try {
        socket.request("destroy ipset", (w) => writeDestroy(w, thing.name), () => {}, thing.name);
      } finally {
        socket.close();
      }
      return;
    }
    case "table":
      deleteNftTable(thing.table);
  }
}
