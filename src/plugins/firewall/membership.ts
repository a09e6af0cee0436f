/**
 * Which sets a pod belongs to, at a cost that does not grow with the number of sets: per namespace, sets are kept by one
 * label that their selector demands, so that a pod is held against those few that its own labels lead to.
 */

import type { Labels } from "../../kernel/plugin.ts";
import type { PodFacts } from "./pods.ts";
import { isNamed, type PodSet } from "./sets.ts";

/** The sets that may hold pods of one namespace. */
interface Bucket {
  /** By key and value of one label that their selector demands. */
  readonly byLabel: Map<string, Map<string, PodSet[]>>;
  readonly rest: PodSet[];
}

interface Counted {
  readonly set: PodSet;
  users: number;
}

export class Membership {
  readonly #node: string;
  readonly #sets = new Map<string, Counted>();
  /** Sets of one namespace, and those that select namespaces, by text. */
  readonly #named = new Map<string, Map<string, PodSet>>();
  readonly #selecting = new Map<string, PodSet>();
  readonly #namespaces = new Map<string, Labels>();
  /** Made when asked for. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(node: string) {
    this.#node = node;
  }

  /** Number of sets in use. */
  get size(): number {
    return this.#sets.size;
  }

  /** Counts one more user of a set; whether it is the first. */
  use(set: PodSet): boolean {
    const known = this.#sets.get(set.text);
    if (known !== undefined) {
      known.users++;
      return false;
    }
    this.#sets.set(set.text, { set, users: 1 });
    if (typeof set.namespaces === "string") {
      const list = this.#named.get(set.namespaces) ?? new Map<string, PodSet>();
      this.#named.set(set.namespaces, list);
      list.set(set.text, set);
    } else this.#selecting.set(set.text, set);
    for (const [namespace, bucket] of this.#buckets) {
      if (this.#concerns(set, namespace)) enter(bucket, set);
    }
    return true;
  }

  /** Counts one user less; whether it was the last. */
  drop(set: PodSet): boolean {
    const known = this.#sets.get(set.text);
    if (known === undefined || --known.users > 0) return false;
    this.#sets.delete(set.text);
    if (typeof set.namespaces === "string") {
      const list = this.#named.get(set.namespaces);
      list?.delete(set.text);
      if (list?.size === 0) this.#named.delete(set.namespaces);
    } else this.#selecting.delete(set.text);
    for (const [namespace, bucket] of this.#buckets) {
      if (this.#concerns(set, namespace)) leave(bucket, set);
    }
    return true;
  }

  labelsOf(name: string): Labels | undefined {
    return this.#namespaces.get(name);
  }

  /** Takes a namespace's labels, undefined where it is gone; whether other sets may hold its pods now. */
  setNamespace(name: string, labels: Labels | undefined): boolean {
    const before = this.#matching(name);
    if (labels === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, labels);
    const after = this.#matching(name);
    if (before.length === after.length && before.every((set, i) => set === after[i])) return false;
    this.#buckets.delete(name);
    return true;
  }

  /** Whether pods of a namespace may be in a set. A namespace that nobody knows matches no selector. */
  #concerns({ namespaces }: PodSet, name: string): boolean {
    if (namespaces === undefined) return true;
    if (typeof namespaces === "string") return namespaces === name;
    const labels = this.#namespaces.get(name);
    return labels !== undefined && namespaces.matches(labels);
  }

  #matching(name: string): readonly PodSet[] {
    return [...this.#selecting.values()].filter((set) => this.#concerns(set, name));
  }

  #bucket(namespace: string): Bucket {
    const known = this.#buckets.get(namespace);
    if (known !== undefined) return known;
    const bucket: Bucket = { byLabel: new Map(), rest: [] };
    for (const set of this.#named.get(namespace)?.values() ?? []) enter(bucket, set);
    for (const set of this.#matching(namespace)) enter(bucket, set);
    this.#buckets.set(namespace, bucket);
    return bucket;
  }

  /** The sets in use that hold a pod. */
  setsOf(pod: PodFacts): readonly PodSet[] {
    const { byLabel, rest } = this.#bucket(pod.namespace);
    const found: PodSet[] = [];
    for (const set of rest) if (this.#selects(set, pod)) found.push(set);
    if (byLabel.size === 0) return found;
    for (const key of Object.keys(pod.labels)) {
      // Most labels of a pod no selector asks for.
      const sets = byLabel.get(key)?.get(pod.labels[key] ?? "");
      if (sets === undefined) continue;
      for (const set of sets) if (this.#selects(set, pod)) found.push(set);
    }
    return found;
  }

  /** Whether a set holds a pod. */
  holds(set: PodSet, pod: PodFacts): boolean {
    return this.#concerns(set, pod.namespace) && this.#selects(set, pod);
  }

  #selects({ local, pods, port }: PodSet, pod: PodFacts): boolean {
    return (!local || pod.node === this.#node) && pods.matches(pod.labels) &&
      (port === undefined || pod.ports.some((own) => isNamed(own, port)));
  }
}

function leave({ byLabel, rest }: Bucket, { pods: { label }, text }: PodSet): void {
  const byValue = label === undefined ? undefined : byLabel.get(label.key);
  const list = label === undefined ? rest : byValue?.get(label.value);
  const at = list?.findIndex((each) => each.text === text) ?? -1;
  if (list === undefined || at < 0) return;
  list.splice(at, 1);
  if (label === undefined || list.length > 0) return;
  byValue?.delete(label.value);
  if (byValue?.size === 0) byLabel.delete(label.key);
}

function enter({ byLabel, rest }: Bucket, set: PodSet): void {
  const { label } = set.pods;
  if (label === undefined) {
    rest.push(set);
    return;
  }
  const byValue = byLabel.get(label.key) ?? new Map<string, PodSet[]>();
  byLabel.set(label.key, byValue);
  const list = byValue.get(label.value);
  if (list === undefined) byValue.set(label.value, [set]);
  else list.push(set);
}
