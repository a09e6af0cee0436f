/** What `status` shows of a node beside the agent's own state, as at the login of kube-router's image: BGP and the IPVS table. */

import type { GlobalAnswer, NeighborsAnswer, RibAnswer } from "../plugins/router/answers.ts";
import { askPlugin } from "./ask-plugin.ts";
import { globalText, neighborsText, ribText } from "./bgp-text.ts";

/** A banner is read by people: a full feed, or ten thousand services, have commands of their own. */
const MOST_PATHS = 500;
const MOST_SERVICES = 200;

/** The sections of BGP; nothing where no router runs. */
export async function bgpBanner(runtimeDir: string): Promise<string> {
  const [global, neighbors, rib] = await Promise.all([
    answerOf("router", runtimeDir, "global"),
    answerOf("router", runtimeDir, "neighbors"),
    answerOf("router", runtimeDir, "rib", { which: "local", most: String(MOST_PATHS) }),
  ]);
  if (global === undefined || neighbors === undefined || rib === undefined) return "";
  return [
    `--- BGP Server Configuration ---\n${globalText(global as GlobalAnswer)}`,
    `--- BGP Neighbors ---\n${neighborsText(neighbors as NeighborsAnswer)}`,
    `--- BGP Route Info ---\n${ribText(rib as RibAnswer)}`,
  ].join("\n");
}

/** The section of IPVS; nothing where no proxy runs, or Linux cannot be read. */
export async function ipvsBanner(runtimeDir: string): Promise<string> {
  const answer = await answerOf("proxy", runtimeDir, "ipvs", { most: String(MOST_SERVICES) });
  if (answer === undefined) return "";
  const { text, left } = answer as { readonly text: string; readonly left: number };
  const more = left === 0 ? "" : `… and ${left} more; "ipvsadm -Ln" prints all\n`;
  return `--- IPVS Services ---\n${text}${more}`;
}

async function answerOf(
  plugin: "proxy" | "router",
  runtimeDir: string,
  topic: string,
  query: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const asked = await askPlugin(plugin, runtimeDir, topic, query);
  return typeof asked === "string" ? undefined : asked.answer;
}
