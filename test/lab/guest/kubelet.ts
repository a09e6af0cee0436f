/** The lab as kubelet: a Pod object that says where it runs gets a network namespace and servers, until it is gone. */

import { createHash } from "node:crypto";
import type { KubeObject, LabApi } from "../api/types.ts";
import { type Cable, podSteps } from "../topology/layout.ts";
import type { NodeSpec, Topology } from "../topology/topology.ts";
import type { Hands } from "./hands.ts";
import { planPod, podKey, podNamespace, type PodPlan, signature } from "./pods.ts";

export interface Kubelet {
  /** Resolves when all changes so far are done. */
  readonly settled: () => Promise<void>;
  /** Why a pod of that key cannot run beside those that do; undefined where it can. */
  readonly clash: (key: string) => string | undefined;
  readonly cables: ReadonlyMap<string, Cable>;
  /** Pods that could not be set up since the last call, and why. */
  readonly complaints: () => readonly string[];
}

export function startKubelet(
  api: LabApi,
  topology: Topology,
  hands: Hands,
  warn: (text: string) => void,
): Kubelet {
  const nodes = new Map(topology.nodes.map((node) => [node.name, node] as const));
  const wanted = new Map<string, PodPlan>();
  const running = new Map<string, PodPlan>();
  const cables = new Map<string, Cable>();
  /** Namespaces of pods → the pod that had the name first. */
  const owners = new Map<string, string>();
  const dirty = new Set<string>();
  let problems: string[] = [];
  let working: Promise<void> | undefined;

  function see(object: KubeObject, deleted: boolean): void {
    const key = podKey(object);
    const plan = deleted ? undefined : planPod(object, (name) => nodes.has(name));
    if (plan === undefined) wanted.delete(key);
    else wanted.set(key, plan);
    const name = podNamespace(key);
    if (plan?.hostNetwork === false) owners.set(name, owners.get(name) ?? key);
    else if (owners.get(name) === key) owners.delete(name);
    dirty.add(key);
    working ??= work();
  }

  async function work(): Promise<void> {
    // Let a whole batch arrive first: an address may move from a deleted pod to a new one.
    await Promise.resolve();
    while (dirty.size > 0) {
      const keys = [...dirty];
      dirty.clear();
      await Promise.all(keys.map((key) => attempt(key, stopIfChanged)));
      await Promise.all(keys.map((key) => attempt(key, startIfWanted)));
    }
    working = undefined;
  }

  async function attempt(key: string, action: (key: string) => Promise<void>): Promise<void> {
    try {
      await action(key);
    } catch (error) {
      problems.push(`Pod "${key}": ${(error as Error).message}`);
    }
  }

  async function stopIfChanged(key: string): Promise<void> {
    const old = running.get(key);
    const plan = wanted.get(key);
    if (old === undefined || plan !== undefined && signature(plan) === signature(old)) return;
    running.delete(key);
    await hands.unserve(key);
    if (old.hostNetwork) return;
    cables.delete(old.namespace);
    // The cable goes first: Linux clears namespaces some time later, and the address may be wanted now.
    await hands.build([["unlink", `node-${old.node}`, cableOf(key)], ["remove", old.namespace]]);
  }

  async function startIfWanted(key: string): Promise<void> {
    const plan = wanted.get(key);
    if (plan === undefined || running.has(key)) return;
    const node = nodes.get(plan.node) as NodeSpec;
    const reason = clash(key);
    if (!plan.hostNetwork && reason !== undefined) throw new Error(reason);
    running.set(key, plan);
    if (!plan.hostNetwork) {
      await hands.build(podSteps(plan.namespace, node, cableOf(key), plan.addresses));
      cables.set(plan.namespace, { namespace: `node-${plan.node}`, device: cableOf(key) });
    }
    const failed = await hands.serve(key, plan.namespace, plan.ports);
    for (const text of failed) warn(`Pod "${key}" does not serve ${text}`);
  }

  function clash(key: string): string | undefined {
    const owner = owners.get(podNamespace(key));
    return owner === undefined || owner === key ? undefined : clashText(owner);
  }

  for (const pod of api.list("Pod")) see(pod, false);
  api.on(({ type, kind, object }) => {
    if (kind.kind === "Pod" && kind.group === "") see(object, type === "DELETED");
  });

  return {
    settled: async () => {
      while (working !== undefined) await working;
    },
    clash,
    cables,
    complaints: () => {
      const texts = problems;
      problems = [];
      return texts;
    },
  };
}

/** Why no other pod gets the owner's namespace. */
export function clashText(owner: string): string {
  return `pod "${owner}" has the namespace "${podNamespace(owner)}" already; ` +
    "give one of them another name";
}

/** As CNI plugins name them: `veth` and eight letters that follow from the pod. */
function cableOf(key: string): string {
  return `veth${createHash("sha1").update(key).digest("hex").slice(0, 8)}`;
}
