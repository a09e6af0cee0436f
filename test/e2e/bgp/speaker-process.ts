/**
 * A speaker as a process of its own, so that it can run in a network namespace and be killed. It takes commands as JSON lines
 * on standard input, `{ id, do, with }`, and answers `{ id, result }` or `{ id, error }`; events are lines without an id.
 */
import { createInterface } from "node:readline";
import { createSpeaker, type Speaker } from "../../../src/plugins/router/bgp/mod.ts";

let speaker: Speaker | undefined;
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function need(): Speaker {
  if (speaker === undefined) throw new Error("There is no speaker yet");
  return speaker;
}

// deno-lint-ignore no-explicit-any -- what tests send is of the speaker's own types
const commands: Record<string, (input: any) => unknown> = {
  async create({ options, peers, routes }) {
    speaker = createSpeaker(options);
    speaker.onEvent((event) => say({ event }));
    speaker.onSettled((family) => say({ settled: family }));
    if (routes !== undefined) speaker.setLocalRoutes(routes);
    if (peers !== undefined) speaker.setPeers(peers);
    await speaker.start();
  },
  peers: (peers) => need().setPeers(peers),
  routes: (routes) => need().setLocalRoutes(routes),
  neighbors: () => need().neighbors(),
  rib: ({ which, peer }) => [...need().rib(which, peer)],
  why: (prefix) => need().why(prefix),
  reset: ({ peer, how }) => need().reset(peer, how),
  stop: (how) => need().stop(how),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, with: input } = JSON.parse(line);
  try {
    say({ id, result: (await commands[name]?.(input)) ?? null });
  } catch (error) {
    say({ id, error: error instanceof Error ? error.message : String(error) });
  }
}
process.exit(0);
