/** What the agent itself answers to commands, besides its plugins. "-" is the name of no plugin. */

import type { ClusterSource } from "../kernel/cluster/source.ts";
import { canonicalIp } from "../kernel/ip.ts";
import { knownOf, meaningAnswer, namesAnswer } from "../kernel/runtime/objects.ts";

/** The answer to a question, undefined where it is none of the agent's own. @throws {RangeError} */
export function agentAnswer(
  source: Pick<ClusterSource, "state" | "stores"> | undefined,
  node: string,
  holder: Holder,
  question: string,
  query: URLSearchParams,
): unknown {
  if (!question.startsWith("-/")) return undefined;
  if (source === undefined) throw new RangeError("The agent is about to start; ask again");
  switch (question) {
    case "-/meaning":
      return meaningAnswer(knownOf(source), query.get("text") ?? "");
    case "-/holders":
      return holders(holder, query.getAll("of"));
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

/** The unit that holds a key of a plugin's kind. */
type Holder = (plugin: string, kind: string, key: string) => string | undefined;

/** By the texts "plugin kind key"; those that nobody holds are left out. */
function holders(holder: Holder, wanted: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(wanted.flatMap((text) => {
    const [, plugin = "", kind = "", key = ""] = /^(\S+) (\S+) (.*)$/.exec(text) ?? [];
    const unit = holder(plugin, kind, key);
    return unit === undefined ? [] : [[text, unit]];
  }));
}
