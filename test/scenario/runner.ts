/**
 * Runs a scenario: a text of commands, one a line, whose indented lines are the body of the command above.
 *
 *   options NAME=VALUE …              the proxy's options, before `start`
 *   host LINK ADDRESS                 an address of the host, before `start`
 *   foreign KIND ITEM                 an object in Linux that is not ours; ITEM as YAML
 *   put service|slice|node NAME YAML  creates or replaces an object (test/support/objects.ts); slices take endpoints
 *   delete service|slice|node NAME    deletes it
 *   start · restart · stop            the agent; all stores are synced when it starts
 *   fail KIND VERB ERRNO [TIMES]      the next ops, or lists, of a kind fail
 *   lose KIND KEY                     somebody removes an object of Linux by hand
 *   deaf KIND                         events of a kind are lost
 *   wait [MS]                         lets time pass, 5,000 ms if absent
 *   expect linux [PREFIX]             Linux holds exactly the body's lines, of those that start with PREFIX
 *   expect plan                       a dry run prints exactly the body's lines
 *   expect status PHASE               the phase of the plugin
 *   expect problems                   "TYPE SUBJECT" of all that is wrong
 *   expect log                        warnings and errors since the last look
 */

import { expect } from "bun:test";
import type { KindName, KubeObject } from "../../src/kernel/cluster/kinds.ts";
import { fakeDataplane, type Verb } from "../../src/kernel/dataplane/fake.ts";
import { testCluster } from "../support/cluster.ts";
import { node, service, slice } from "../support/objects.ts";
import { type Bench, bench } from "../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../support/service-world.ts";

/** How the events of a scenario reach the agent. The end must be the same. */
export const VARIANTS = ["as written", "reversed", "duplicated", "settled at each step"] as const;
export type Variant = (typeof VARIANTS)[number];

interface Command {
  readonly line: number;
  readonly words: readonly string[];
  /** The line behind the first word. */
  readonly text: string;
  readonly body: readonly string[];
}

interface ObjectEvent {
  readonly kind: KindName;
  readonly name: string;
  readonly object?: KubeObject;
}

const KINDS: Readonly<Record<string, KindName>> = {
  service: "services",
  slice: "endpointslices",
  node: "nodes",
};

export function parseScenario(text: string): readonly Command[] {
  const commands: Command[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trimEnd();
    if (line === "" || line.startsWith("#")) continue;
    const last = commands.at(-1);
    if (!line.startsWith(" ")) {
      const words = line.split(/\s+/);
      commands.push({
        line: index + 1,
        words,
        text: line.slice(words[0]?.length).trim(),
        body: [],
      });
    } else if (last === undefined) {
      throw new SyntaxError(`Line ${index + 1}: a body without a command`);
    } else {
      commands[commands.length - 1] = { ...last, body: [...last.body, line.trim()] };
    }
  }
  return commands;
}

export async function runScenario(text: string, variant: Variant): Promise<void> {
  const run = scenario(variant);
  for (const command of parseScenario(text)) {
    try {
      await run(command);
    } catch (error) {
      if (error instanceof Error) error.message = `Line ${command.line}: ${error.message}`;
      throw error;
    }
  }
  await run({ line: 0, words: ["stop"], text: "", body: [] });
}

function scenario(variant: Variant): (command: Command) => Promise<void> {
  const linux = fakeDataplane();
  const cluster = testCluster();
  const host: { link: string; family: 4 | 6; address: string }[] = [];
  let options = proxyOptions();
  let agent: Bench | undefined;
  let events: ObjectEvent[] = [];

  const started = (): Bench => {
    if (agent === undefined) throw new Error("the agent is not started");
    return agent;
  };

  const emit = ({ kind, name, object }: ObjectEvent): void => {
    if (object === undefined) cluster.remove(kind, name);
    else cluster.put(kind, object);
  };

  /** Events stand in no order but that of each object, so they may come in any other. */
  const deliver = async (): Promise<void> => {
    const distinct = new Set(events.map(({ kind, name }) => `${kind} ${name}`)).size;
    const mayTurn = variant === "reversed" && distinct === events.length;
    for (const event of mayTurn ? events.toReversed() : events) {
      emit(event);
      if (variant === "duplicated") emit(again(event));
      if (variant === "settled at each step") await agent?.settle();
    }
    events = [];
  };

  const start = async (): Promise<void> => {
    cluster.sync();
    agent = bench([proxyPlugin], { linux, cluster, host, options });
    await agent.runtime.start();
    await agent.settle();
  };

  const expectation = async ({ words, body }: Command): Promise<void> => {
    const { runtime, status, settle, takeLog } = started();
    await settle();
    const [, what, ...rest] = words;
    const argument = rest.join(" ");
    switch (what) {
      case "linux":
        expect(linux.dump().split("\n").filter((line) => line !== "" && line.startsWith(argument)))
          .toEqual([...body]);
        return;
      case "plan":
        expect(await planned(runtime)).toEqual([...body]);
        return;
      case "status":
        expect(status().phase).toBe(argument as never);
        return;
      case "problems":
        expect(status().problems.map(({ type, subject }) => `${type} ${subject}`).toSorted())
          .toEqual([...body]);
        return;
      case "log":
        expect(takeLog().filter((line) => !line.startsWith("info"))).toEqual([...body]);
        return;
      default:
        throw new SyntaxError(`nothing to expect of "${what}"`);
    }
  };

  return async (command) => {
    const { words, text } = command;
    const [verb, one = "", two = "", three = "", four = "1"] = words;
    if (verb !== "put" && verb !== "delete") await deliver();
    switch (verb) {
      case "options":
        options = { ...options, ...Object.fromEntries(words.slice(1).map(setting)) };
        return;
      case "host":
        host.push({ link: one, family: two.includes(":") ? 6 : 4, address: two });
        return;
      case "foreign":
        linux.seed(one, Bun.YAML.parse(text.slice(one.length)));
        return;
      case "put":
        events.push({ kind: kindOf(one), name: two, object: object(one, two, text) });
        return;
      case "delete":
        events.push({ kind: kindOf(one), name: two });
        return;
      case "start":
        return await start();
      case "restart":
        await started().runtime.stop();
        return await start();
      case "stop":
        return await agent?.runtime.stop();
      case "fail":
        if (two === "list") linux.failList(one, three, Number(four));
        else linux.failNext(one, two as Verb, three, Number(four));
        return;
      case "lose":
        linux.drift(one, text.slice(one.length).trim(), undefined);
        return;
      case "deaf":
        linux.loseEvents(one);
        return;
      case "wait":
        return await started().clock.advance(Number(one === "" ? "5000" : one));
      case "expect":
        return await expectation(command);
      default:
        throw new SyntaxError(`there is no command "${verb}"`);
    }
  };
}

/** The same object, as another watch event tells of it. */
function again(event: ObjectEvent): ObjectEvent {
  return event.object === undefined ? event : { ...event, object: structuredClone(event.object) };
}

function kindOf(word: string): KindName {
  const kind = KINDS[word];
  if (kind === undefined) throw new SyntaxError(`there are no objects of kind "${word}"`);
  return kind;
}

function object(kind: string, name: string, text: string): KubeObject {
  const rest = text.slice(kind.length).trim().slice(name.length).trim();
  const given: unknown = rest === "" ? undefined : Bun.YAML.parse(rest);
  if (kind === "service") return service(name, given as Parameters<typeof service>[1]);
  if (kind === "node") return node(name, given as Parameters<typeof node>[1]);
  const { endpoints = [], ...changes } = given as { endpoints?: Parameters<typeof slice>[1] };
  return slice(name, endpoints, changes);
}

function setting(word: string): readonly [string, unknown] {
  const [name = "", value = ""] = word.split("=");
  return [name, Bun.YAML.parse(value)];
}

/** What a dry run would print, beside the agent that runs. */
async function planned(runtime: Bench["runtime"]): Promise<readonly string[]> {
  const previews = await runtime.preview();
  return previews.flatMap(({ tables: plans }) =>
    plans.flatMap(({ resource, upserts, deletes }) =>
      [...upserts, ...deletes].map(({ verb, item }) => `${verb} ${resource.describe(item)}`)
    )
  );
}
