/** The command `policy`: asks the running agent's firewall over its socket, and Linux for the counters. */

import { causeText, type ListAnswer, type WhyAnswer } from "../plugins/firewall/answers.ts";
import { askPlugin } from "./ask-plugin.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { type Counted, counters } from "./rule-counters.ts";

const USAGE = "list | why SOURCE DESTINATION [PROTOCOL/PORT]";

/** Prints the answer; 1 where none came, 2 for words that are no question. */
export async function policy(flags: Flags, io: Io, words: readonly string[]): Promise<number> {
  const [word = "list", source, destination, port, ...more] = words;
  const listing = word === "list" && source === undefined;
  const asking = word === "why" && destination !== undefined && more.length === 0;
  if (!listing && !asking) {
    io.stderr(`routelet: Command "policy" takes: ${USAGE}\n`);
    return EXIT.usage;
  }
  const asked = await askPlugin(
    "firewall",
    flags.runtimeDir,
    word,
    listing ? {} : {
      source: source ?? "",
      destination: destination ?? "",
      ...(port === undefined ? {} : { port }),
    },
  );
  if (typeof asked === "string") {
    io.stderr(`routelet: ${asked}\n`);
    return EXIT.failed;
  }
  if (listing) {
    const answer = asked.answer as ListAnswer;
    io.stdout(flags.output === "json" ? `${JSON.stringify(answer, null, 2)}\n` : listText(answer));
    return 0;
  }
  const answer = asked.answer as WhyAnswer;
  const counted = await counters();
  io.stdout(
    flags.output === "json"
      ? `${JSON.stringify(withPackets(answer, counted), null, 2)}\n`
      : whyText(answer, counted),
  );
  return 0;
}

function withPackets(answer: WhyAnswer, counted: Counted): unknown {
  return {
    ...answer,
    connections: answer.connections.map((connection) => ({
      ...connection,
      judgements: connection.judgements.map((judgement) => ({
        ...judgement,
        packets: counted(judgement.object),
      })),
    })),
  };
}

export function listText({ node, policies, closed }: ListAnswer): string {
  const lines = policies.flatMap(({ policy, directions, audit, pods, chains, problems }) => [
    `${policy}  ${directions.join(" and ")}${audit ? ", audit only" : ""}, ${pods.length} pod${
      pods.length === 1 ? "" : "s"
    } here`,
    ...directions.map((direction, i) => `  ${direction} chain ${chains[i]}`),
    ...(pods.length > 0 ? [`  pods ${pods.join(", ")}`] : []),
    ...problems.map((problem) => `  problem: ${problem}`),
  ]);
  const annotated = closed.map((name) => `namespace ${name}  closed for ingress by its annotation`);
  return lines.length + annotated.length === 0
    ? `No policy concerns the pods of ${node}\n`
    : `${[...lines, ...annotated].join("\n")}\n`;
}

export function whyText({ node, connections }: WhyAnswer, counted: Counted): string {
  return connections.map((connection) => {
    const { source, destination, protocol, port, allowed, judgements, elsewhere } = connection;
    const verdict = judgements.length === 0
      ? `nothing is judged on ${node}`
      : `${allowed ? "allowed" : "denied"} on ${node}`;
    const end = destination.includes(":") ? `[${destination}]:${port}` : `${destination}:${port}`;
    return [
      `${source} -> ${protocol} ${end}: ${verdict}`,
      ...judgements.flatMap(({ pod, direction, allowed: one, cause, object }) => {
        const packets = counted(object);
        const count = packets === undefined ? "" : `, ${packets} packets`;
        return [
          `  ${direction} of ${pod}: ${one ? "allowed" : "denied"}, ${causeText(cause)}`,
          `    chain ${object.chain}, "${object.comment.trim()}"${count}`,
        ];
      }),
      ...elsewhere.map((text) => `  ${text}: ask there too`),
      "",
    ].join("\n");
  }).join("");
}
