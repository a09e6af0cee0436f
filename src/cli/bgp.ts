/** The command `bgp`: asks the running agent's router over its socket and prints the answer. */

import type {
  GlobalAnswer,
  NeighborsAnswer,
  RibAnswer,
  WhyAnswer,
} from "../plugins/router/answers.ts";
import { askPlugin } from "./ask-plugin.ts";
import { globalText, neighborsText, neighborText, ribText, whyText } from "./bgp-text.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";

/** What is asked, and how the answer is printed. */
interface Question {
  readonly topic: string;
  readonly query: Readonly<Record<string, string>>;
  readonly text: (answer: unknown) => string;
}

const USAGE = "global | neighbors [PEER] | rib [in|out|local] [PEER] | why PREFIX";

/** Prints the answer; 1 where none came, 2 for words that are no question. */
export async function bgp(flags: Flags, io: Io, words: readonly string[]): Promise<number> {
  const question = questionOf(words);
  if (question === undefined) {
    io.stderr(`routelet: Command "bgp" takes: ${USAGE}\n`);
    return EXIT.usage;
  }
  const asked = await askPlugin("router", flags.runtimeDir, question.topic, question.query);
  if (typeof asked === "string") {
    io.stderr(`routelet: ${asked}\n`);
    return EXIT.failed;
  }
  io.stdout(
    flags.output === "json"
      ? `${JSON.stringify(asked.answer, null, 2)}\n`
      : question.text(asked.answer),
  );
  return 0;
}

function questionOf(words: readonly string[]): Question | undefined {
  const [word = "neighbors", first, second, ...more] = words;
  if (more.length > 0) return undefined;
  const peer = (text: string | undefined) => text === undefined ? {} : { peer: text };
  if (word === "global" && first === undefined) {
    return { topic: "global", query: {}, text: (a) => globalText(a as GlobalAnswer) };
  }
  if (word === "neighbors" || word === "neighbor") {
    if (second !== undefined) return undefined;
    const text = first === undefined ? neighborsText : neighborText;
    return { topic: "neighbors", query: peer(first), text: (a) => text(a as NeighborsAnswer) };
  }
  if (word === "rib") {
    const which = first ?? "local";
    if (!["in", "out", "local"].includes(which)) return undefined;
    return {
      topic: "rib",
      query: { which, ...peer(second) },
      text: (a) => ribText(a as RibAnswer),
    };
  }
  if (word === "why" && first !== undefined && second === undefined) {
    return { topic: "why", query: { prefix: first }, text: (a) => whyText(a as WhyAnswer) };
  }
  return undefined;
}
