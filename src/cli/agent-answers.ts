/** What the agent itself answers to commands, besides its plugins. "-" is the name of no plugin. */

import type { ClusterSource } from "../kernel/cluster/source.ts";
import { canonicalIp } from "../kernel/ip.ts";
import { knownOf, meaningAnswer, namesAnswer } from "../kernel/runtime/objects.ts";

/** The answer to a question, undefined where it is none of the agent's own. @throws {RangeError} */
export function agentAnswer(
  source: Pick<ClusterSource, "state" | "stores"> | undefined,
  node: string,
  question: string,
  query: URLSearchParams,
): unknown {
  if (!question.startsWith("-/")) return undefined;
  if (source === undefined) throw new RangeError("The agent is about to start; ask again");
  switch (question) {
    case "-/meaning":
      return meaningAnswer(knownOf(source), query.get("text") ?? "");
    case "-/node":
      return node;
    case "-/names":
      return namesAnswer(
        knownOf(source),
        query.getAll("address").flatMap((text) => canonicalIp(text) ?? []),
      );
    default:
      return undefined;
  }
}
