/** What `status` says of the plugins' work in a line each: IPVS with rates, BGP sessions, policies. */

import type { ListAnswer } from "../plugins/firewall/answers.ts";
import type { IpvsSummary } from "../plugins/proxy/answers.ts";
import type { NeighborsAnswer } from "../plugins/router/answers.ts";
import { askPlugin } from "./ask-plugin.ts";
import { bytes } from "./ipvs.ts";
import type { AgentStatus } from "./status.ts";

/** Absent: that plugin does not run, or cannot say. */
export interface Overview {
  readonly ipvs?: IpvsSummary;
  readonly bgp?: {
    readonly established: number;
    readonly neighbors: readonly {
      readonly address: string;
      readonly asn: number;
      readonly state: string;
      readonly received: number;
      readonly advertised: number;
      readonly lastError?: string;
    }[];
  };
  readonly policies?: {
    readonly policies: number;
    /** Pods of this node that some policy selects. */
    readonly pods: number;
    readonly problems: readonly string[];
  };
}

/** Asks the plugins that run. */
export async function overviewOf(
  runtimeDir: string,
  { plugins = [] }: Pick<AgentStatus, "plugins">,
): Promise<Overview> {
  const runs = (plugin: string) =>
    plugins.some(({ name, phase }) => name === plugin && phase !== "waiting");
  const ask = async (plugin: "proxy" | "router" | "firewall", topic: string): Promise<unknown> => {
    if (!runs(plugin)) return undefined;
    const asked = await askPlugin(plugin, runtimeDir, topic);
    return typeof asked === "string" ? undefined : asked.answer;
  };
  const [ipvs, neighbors, policies] = await Promise.all([
    ask("proxy", "summary"),
    ask("router", "neighbors"),
    ask("firewall", "list"),
  ]);
  return {
    ...(ipvs === undefined ? {} : { ipvs: ipvs as IpvsSummary }),
    ...(neighbors === undefined ? {} : { bgp: bgpOf(neighbors as NeighborsAnswer) }),
    ...(policies === undefined ? {} : { policies: policiesOf(policies as ListAnswer) }),
  };
}

function bgpOf({ neighbors }: NeighborsAnswer): NonNullable<Overview["bgp"]> {
  return {
    established: neighbors.filter(({ state }) => state === "Established").length,
    neighbors: neighbors.map(({ address, configuredAsn, state, prefixes, lastError }) => ({
      address,
      asn: configuredAsn,
      state,
      received: prefixes[4].received + prefixes[6].received,
      advertised: prefixes[4].advertised + prefixes[6].advertised,
      ...(lastError === undefined ? {} : { lastError }),
    })),
  };
}

function policiesOf({ policies }: ListAnswer): NonNullable<Overview["policies"]> {
  return {
    policies: policies.length,
    pods: new Set(policies.flatMap(({ pods }) => pods)).size,
    problems: policies.flatMap(({ policy, problems }) =>
      problems.map((problem) => `${policy}: ${problem}`)
    ),
  };
}

/** Neighbours that do not work and are named one by one. */
const NAMED = 10;

/** A line each; nothing for what does not run. */
export function overviewText({ ipvs, bgp, policies }: Overview): string {
  const lines: string[] = [];
  if (ipvs !== undefined) {
    const others = ipvs.services - ipvs.ours;
    const busiest = ipvs.busiest.map(({ service, connectionRate }) =>
      `${service} ${connectionRate}/s`
    );
    lines.push(
      `ipvs      ${ipvs.ours} services${others > 0 ? ` and ${others} of others` : ""}; ` +
        `${ipvs.connections} connections, ${ipvs.connectionRate}/s, ${
          bytes(ipvs.inByteRate)
        }/s in, ` +
        `${bytes(ipvs.outByteRate)}/s out${
          busiest.length > 0 ? `; most: ${busiest.join(", ")}` : ""
        }`,
    );
  }
  if (bgp !== undefined) {
    const { neighbors, established } = bgp;
    const down = neighbors.filter(({ state }) => state !== "Established");
    lines.push(
      neighbors.length === 0
        ? "bgp       no neighbours"
        : `bgp       ${established} of ${neighbors.length} sessions established`,
      ...down.slice(0, NAMED).map(({ address, asn, state, lastError }) =>
        `          ${address} (AS ${asn}) ${state}${
          lastError === undefined ? "" : `: ${lastError}`
        }`
      ),
      ...(down.length > NAMED ? [`          and ${down.length - NAMED} more`] : []),
    );
  }
  if (policies !== undefined) {
    lines.push(`policies  ${policies.policies} for ${policies.pods} pods of this node`);
    lines.push(...policies.problems.map((problem) => `          problem: ${problem}`));
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}
