/** The LAB commands that the machine room does (`exec` and `run` are done by the command itself). */

import type { FailureMode, KubeObject, LabApi, ObjectReference } from "../api/types.ts";
import type { Cable } from "../topology/layout.ts";
import type { Topology } from "../topology/topology.ts";
import type { Agents } from "./agents.ts";
import type { Command, Console } from "./control.ts";
import type { Hands } from "./hands.ts";
import { clashText, type Kubelet } from "./kubelet.ts";
import { merge, nodeObject, readObjects } from "./objects.ts";
import { planPod, podKey, podNamespace } from "./pods.ts";
import { waitForAgents } from "./wait.ts";

export interface Room {
  readonly topology: Topology;
  readonly api: LabApi;
  readonly hands: Hands;
  readonly kubelet: Kubelet;
  readonly agents: Agents;
  /** Cables of the hosts; those of pods are the kubelet's. */
  readonly cables: ReadonlyMap<string, Cable>;
}

const MODES: readonly FailureMode[] = [
  "drop",
  "410",
  "429",
  "500",
  "stall",
  "half-open",
  "down",
];
const WAIT_SECONDS = 30;

export function createCommands(room: Room): Command {
  return (words, console) => {
    const [name = "", ...rest] = words;
    switch (name) {
      case "apply":
        return applyFiles(room, rest, console);
      case "delete":
        return deleteFiles(room, rest, console);
      case "wait":
        return waitCommand(room, rest, console);
      case "probe":
        return probe(room, rest[0] ?? "", console);
      case "agent":
        return agentCommand(room, rest, console);
      case "api":
        return Promise.resolve(apiCommand(room, rest));
      case "link":
        return link(room, rest);
      case "netem":
        return netem(room, rest);
      default:
        throw new Error(
          `unknown command "${name}"; known are exec, apply, delete, wait, probe, run, agent, api, link, netem`,
        );
    }
  };
}

/** Applies in order; what is refused costs only itself. Returns the texts of the refusals. */
export async function applyObjects(room: Room, objects: readonly object[]): Promise<string[]> {
  const nodes = new Map(room.topology.nodes.map((node) => [node.name, node] as const));
  const refused: string[] = [];
  const claimed = new Map<string, string>();
  const batch: object[] = [];
  const write = () => {
    try {
      room.api.applyAll(batch);
    } catch {
      // One of them is at fault: find it, keep the others.
      for (const object of batch) {
        try {
          room.api.apply(object);
        } catch (error) {
          refused.push((error as Error).message);
        }
      }
    }
  };
  for (const object of objects) {
    const { kind, metadata } = object as KubeObject;
    if (kind === "Node") {
      const node = nodes.get(metadata?.name ?? "");
      batch.push(node === undefined ? object : merge(nodeObject(node), object) as object);
      continue;
    }
    if (
      kind === "Pod" &&
      planPod(object as KubeObject, (name) => nodes.has(name))?.hostNetwork === false
    ) {
      const key = podKey(object as KubeObject);
      const before = claimed.get(podNamespace(key)) ?? key;
      const reason = room.kubelet.clash(key) ?? (before === key ? undefined : clashText(before));
      if (reason !== undefined) {
        refused.push(`Pod "${key}" is refused: ${reason}`);
        continue;
      }
      claimed.set(podNamespace(key), key);
    }
    batch.push(object);
  }
  write();
  await room.kubelet.settled();
  return [...refused, ...room.kubelet.complaints()];
}

async function applyFiles(room: Room, files: readonly string[], console: Console) {
  const refused = await applyObjects(room, documents(files));
  for (const text of refused) console.err(`lab: ${text}\n`);
  return refused.length === 0 ? 0 : 1;
}

async function deleteFiles(room: Room, files: readonly string[], console: Console) {
  let status = 0;
  for (const object of documents(files)) {
    const { apiVersion = "", kind = "", metadata } = object as {
      apiVersion?: string;
      kind?: string;
      metadata?: { name?: string; namespace?: string };
    };
    const { name = "", namespace } = metadata ?? {};
    const reference: ObjectReference = {
      apiVersion,
      kind,
      name,
      ...(namespace === undefined ? {} : { namespace }),
    };
    if (!room.api.delete(reference)) {
      console.err(
        `lab: ${kind} "${namespace === undefined ? "" : `${namespace}/`}${name}" is not there\n`,
      );
      status = 1;
    }
  }
  await room.kubelet.settled();
  for (const text of room.kubelet.complaints()) console.err(`lab: ${text}\n`);
  return status;
}

/** Name, text, name, text… as the LAB command sends files. */
function documents(files: readonly string[]): readonly object[] {
  const objects: object[] = [];
  for (let at = 0; at + 1 < files.length; at += 2) {
    objects.push(...readObjects(files[at + 1] ?? "", files[at] ?? ""));
  }
  return objects;
}

async function waitCommand(room: Room, [text]: readonly string[], console: Console) {
  const seconds = text === undefined ? WAIT_SECONDS : Number(text);
  if (!(seconds > 0)) throw new Error(`wait: "${text}" is not a number of seconds`);
  console.out(`${Math.round(await waitForAgents(room.api, room.agents, seconds))}\n`);
  return 0;
}

async function probe(room: Room, text: string, console: Console): Promise<number> {
  const probes: unknown[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    try {
      probes.push(JSON.parse(line));
    } catch {
      console.out(`${JSON.stringify({ result: "error", error: `not JSON: ${line}` })}\n`);
    }
  }
  await room.hands.probe(probes, (result) => console.out(`${JSON.stringify(result)}\n`));
  return 0;
}

async function agentCommand(room: Room, words: readonly string[], console: Console) {
  const [action = "", ...names] = words;
  const { agents } = room;
  if (action === "logs") {
    console.out(agents.log(names[0] ?? ""));
    return 0;
  }
  if (action === "flags") {
    agents.setFlags(names[0] ?? "", names.slice(names[1] === "--" ? 2 : 1));
    return 0;
  }
  if (action === "executable") {
    const [node = "", path = ""] = names;
    if (!path.startsWith("/")) throw new Error("usage: agent executable NODE /PATH");
    agents.setExecutable(node, path);
    return 0;
  }
  const actions: Readonly<Record<string, (name: string) => Promise<void>>> = {
    start: agents.start,
    stop: agents.stop,
    kill: agents.kill,
    restart: async (name) => {
      await agents.stop(name);
      await agents.start(name);
    },
  };
  const act = actions[action];
  if (act === undefined || names.length === 0) {
    throw new Error(
      "usage: agent stop|start|kill|restart NODE… · logs NODE · flags NODE -- FLAGS… · executable NODE /PATH",
    );
  }
  const results = await Promise.allSettled(names.map(async (name) => await act(name)));
  const failures = results.filter((result) => result.status === "rejected");
  for (const { reason } of failures) console.err(`lab: ${(reason as Error).message}\n`);
  return failures.length === 0 ? 0 : 1;
}

function apiCommand(room: Room, [action, mode, text]: readonly string[]): number {
  const known = MODES.find((candidate) => candidate === mode);
  if (action !== "fail" || known === undefined) {
    throw new Error(`usage: api fail ${MODES.join("|")} [SECONDS]`);
  }
  const seconds = text === undefined ? undefined : Number(text);
  if (seconds !== undefined && !(seconds >= 0)) {
    throw new Error(`api fail: "${text}" is not a number of seconds`);
  }
  room.api.fail(known, seconds);
  return 0;
}

function cableOf(room: Room, name: string): readonly [string, Cable] {
  const namespace = name.replace("/", "-");
  const cable = room.cables.get(namespace) ?? room.kubelet.cables.get(namespace);
  if (cable === undefined) throw new Error(`there is no namespace "${name}" with a link`);
  return [namespace, cable];
}

/** The lab's end of the cable goes down: the host keeps addresses and routes and loses its carrier. */
async function link(room: Room, [name = "", state]: readonly string[]): Promise<number> {
  if (state !== "down" && state !== "up") throw new Error("usage: link NETNS down|up");
  const [, cable] = cableOf(room, name);
  await room.hands.build([["up", cable.namespace, cable.device, state === "up"]]);
  return 0;
}

/** Both ends of the cable, so both directions; without arguments, or with `off`, no more. */
async function netem(room: Room, [name = "", ...settings]: readonly string[]): Promise<number> {
  const [namespace, cable] = cableOf(room, name);
  const off = settings.length === 0 || settings[0] === "off" || settings[0] === "del";
  for (const end of [{ namespace, device: "eth0" }, cable]) {
    const tc = [
      "tc",
      "qdisc",
      off ? "del" : "replace",
      "dev",
      end.device,
      "root",
      "netem",
      ...(off ? [] : settings),
    ];
    const enter = end.namespace === "@" ? [] : ["nsenter", `--net=/run/netns/${end.namespace}`];
    const child = Bun.spawn([...enter, ...tc], { stdin: null, stdout: "ignore", stderr: "pipe" });
    const complaint = await new Response(child.stderr).text();
    if (await child.exited !== 0 && !off) throw new Error(`netem: ${complaint.trim()}`);
  }
  return 0;
}
