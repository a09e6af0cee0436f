/**
 * The state of policies on this node, changed object by object, and which units each change concerns. A namespace counts
 * while it has a pod on this node: policies of others cannot bear on anything here, and are not compiled.
 */

import type { Family } from "../../kernel/ip.ts";
import type { IpSetMember, Labels, Namespace, NetworkPolicy, Pod } from "../../kernel/plugin.ts";
import { AddressIndex } from "./address-index.ts";
import type { NamespaceModel } from "./compile-namespace.ts";
import { type CompiledPolicy, compilePolicy } from "./compile-policy.ts";
import { type Isolation, isolationOf } from "./isolation.ts";
import { Membership } from "./membership.ts";
import { type PodFacts, podFacts, podKey } from "./pods.ts";
import { type PolicyModel, policyModel } from "./policy.ts";
import { membersOf, type PodSet } from "./sets.ts";

/** An object before and after its change; absent where it was not, or is no more. */
export interface Change<T> {
  /** Its key, where somebody has that text already. */
  readonly key?: string;
  readonly previous?: T;
  readonly current?: T;
}

/** Units to look at again. */
export interface Woken {
  /** Pods of this node whose chain may differ. */
  readonly pods: ReadonlySet<string>;
  /** Pods, of all nodes, whose memberships may differ; or all of them. */
  readonly members: ReadonlySet<string> | "all";
  readonly policies: ReadonlySet<string>;
  readonly namespaces: ReadonlySet<string>;
  /** Whether the list of this node's pods and their addresses may differ. */
  readonly base: boolean;
}

interface Waking {
  readonly pods: Set<string>;
  members: Set<string> | "all";
  readonly policies: Set<string>;
  readonly namespaces: Set<string>;
  base: boolean;
}

interface NamespaceState {
  /** The object, where it exists. */
  isolation: Isolation;
  readonly pods: Map<string, PodFacts>;
  readonly local: Set<string>;
  readonly policies: Map<string, PolicyModel>;
  /** Compiled policies, while the namespace counts. */
  readonly compiled: Map<string, CompiledPolicy>;
  /** The policies as a list, made when asked for. */
  list: readonly PolicyModel[] | undefined;
}

/** New sets in one batch past which all pods are looked at: cheaper than each set looking for its pods. */
const MANY_SETS = 16;

export class PolicyIndex {
  readonly #node: string;
  readonly #families: readonly Family[];
  readonly #membership: Membership;
  readonly #namespaces = new Map<string, NamespaceState>();
  readonly #byAddress = new AddressIndex();
  /** In this batch. */
  #newSets: PodSet[] = [];

  constructor(node: string, families: readonly Family[]) {
    this.#node = node;
    this.#families = families;
    this.#membership = new Membership(node);
  }

  changePods(changes: readonly Change<Pod>[]): Woken {
    return this.#batch((waking) => {
      for (const { key: known, previous, current } of changes) {
        const object = current ?? previous;
        if (object === undefined) continue;
        const key = known ?? podKey(object.metadata);
        this.#changePod(
          this.pod(key),
          current === undefined ? undefined : podFacts(current, key),
          waking,
        );
      }
    });
  }

  changeNamespaces(changes: readonly Change<Namespace>[]): Woken {
    return this.#batch((waking) => {
      for (const { previous, current } of changes) {
        const name = (current ?? previous)?.metadata.name;
        if (name !== undefined) this.#changeNamespace(name, current, waking);
      }
    });
  }

  changePolicies(changes: readonly Change<NetworkPolicy>[]): Woken {
    return this.#batch((waking) => {
      for (const { previous, current } of changes) {
        this.#changePolicy(
          previous === undefined ? undefined : policyModel(previous),
          current === undefined ? undefined : policyModel(current),
          waking,
        );
      }
    });
  }

  /** Pods of this node, by key. */
  localPods(): readonly PodFacts[] {
    const found: PodFacts[] = [];
    for (const { local } of this.#namespaces.values()) {
      for (const key of local) {
        const pod = this.pod(key);
        if (pod !== undefined) found.push(pod);
      }
    }
    return found.toSorted((a, b) => a.key < b.key ? -1 : 1);
  }

  localPod(key: string): PodFacts | undefined {
    const pod = this.pod(key);
    return pod?.node === this.#node ? pod : undefined;
  }

  /** Pods of all nodes that have an address now: one, but for a moment when it is given to the next. */
  podsAt(address: string): readonly PodFacts[] {
    return this.#byAddress.at(address);
  }

  /** Absent where there is no object. */
  namespaceLabels(name: string): Labels | undefined {
    return this.#membership.labelsOf(name);
  }

  /** A pod that policies see, of any node. */
  pod(key: string): PodFacts | undefined {
    return this.#namespaces.get(namespaceOf(key))?.pods.get(key);
  }

  /** Keys of all pods that policies see. */
  *podKeys(): Iterable<string> {
    for (const { pods } of this.#namespaces.values()) yield* pods.keys();
  }

  /** The members that a pod brings into the sets in use. */
  members(key: string): readonly IpSetMember[] {
    const pod = this.pod(key);
    if (pod === undefined) return [];
    const [first, ...others] = this.#membership.setsOf(pod);
    if (first === undefined) return [];
    const members = membersOf(first, pod, this.#families);
    return others.length === 0
      ? members
      : [members, ...others.map((set) => membersOf(set, pod, this.#families))].flat();
  }

  /** Names of the namespaces that count. */
  *activeNamespaces(): Iterable<string> {
    for (const [name, { local }] of this.#namespaces) if (local.size > 0) yield name;
  }

  /** A namespace that counts. */
  namespace(name: string): (NamespaceModel & { readonly problem?: string }) | undefined {
    const state = this.#namespaces.get(name);
    if (state === undefined || state.local.size === 0) return undefined;
    state.list ??= [...state.policies.values()];
    return { name, policies: state.list, ...state.isolation };
  }

  *activePolicies(): Iterable<string> {
    for (const { local, policies } of this.#namespaces.values()) {
      if (local.size > 0) yield* policies.keys();
    }
  }

  /** A policy of a namespace that counts. */
  policy(key: string): (CompiledPolicy & { readonly problems: readonly string[] }) | undefined {
    const state = this.#namespaces.get(namespaceOf(key));
    const compiled = state?.compiled.get(key);
    const model = state?.policies.get(key);
    return compiled === undefined || model === undefined
      ? undefined
      : { ...compiled, problems: model.problems };
  }

  #batch(change: (waking: Waking) => void): Woken {
    const waking: Waking = {
      pods: new Set(),
      members: new Set(),
      policies: new Set(),
      namespaces: new Set(),
      base: false,
    };
    this.#newSets = [];
    change(waking);
    // After the batch, so that a set is held against pods that came with it.
    if (this.#newSets.length > MANY_SETS) waking.members = "all";
    else for (const set of this.#newSets) this.#wakeMembers(set, waking);
    this.#newSets = [];
    return waking;
  }

  #wakeMembers(set: PodSet, { members }: Waking): void {
    if (members === "all") return;
    const { namespaces } = set;
    const among = typeof namespaces === "string"
      ? [this.#namespaces.get(namespaces)]
      : this.#namespaces.values();
    for (const state of among) {
      for (const pod of state?.pods.values() ?? []) {
        if (this.#membership.holds(set, pod)) members.add(pod.key);
      }
    }
  }

  #changePod(previous: PodFacts | undefined, current: PodFacts | undefined, waking: Waking): void {
    const pod = current ?? previous;
    if (pod === undefined || same(previous, current)) return;
    const state = this.#state(pod.namespace);
    const before = previous === undefined ? 0 : this.#membership.setsOf(previous).length;
    const wasLocal = state.local.has(pod.key);
    const isLocal = current?.node === this.#node;
    if (current === undefined) state.pods.delete(pod.key);
    else state.pods.set(pod.key, current);
    if (previous !== undefined) this.#byAddress.remove(previous);
    if (current !== undefined) this.#byAddress.add(current);
    if (isLocal && !wasLocal) {
      state.local.add(pod.key);
      if (state.local.size === 1) this.#activate(pod.namespace, state, waking);
    } else if (wasLocal && !isLocal) {
      state.local.delete(pod.key);
      if (state.local.size === 0) this.#deactivate(pod.namespace, state, waking);
    }
    if ((wasLocal || isLocal) && (wasLocal !== isLocal || !sameAddresses(previous, current))) {
      waking.pods.add(pod.key);
      waking.base = true;
    }
    const after = current === undefined ? 0 : this.#membership.setsOf(current).length;
    if (waking.members !== "all" && (before > 0 || after > 0)) waking.members.add(pod.key);
    this.#forget(pod.namespace, state);
  }

  #activate(name: string, state: NamespaceState, waking: Waking): void {
    waking.namespaces.add(name);
    for (const [key, policy] of state.policies) {
      waking.policies.add(key);
      this.#compile(key, policy, state);
    }
  }

  #deactivate(name: string, state: NamespaceState, waking: Waking): void {
    waking.namespaces.add(name);
    for (const key of state.policies.keys()) {
      waking.policies.add(key);
      this.#release(state.compiled.get(key), waking);
    }
    state.compiled.clear();
  }

  #compile(key: string, policy: PolicyModel, state: NamespaceState): void {
    const compiled = compilePolicy(policy, this.#families);
    state.compiled.set(key, compiled);
    for (const set of compiled.podSets) if (this.#membership.use(set)) this.#newSets.push(set);
  }

  #release(compiled: CompiledPolicy | undefined, waking: Waking): void {
    for (const set of compiled?.podSets ?? []) {
      // Who is in it has to be found before nobody knows the set any more.
      if (this.#membership.drop(set)) this.#wakeMembers(set, waking);
    }
  }

  #changeNamespace(name: string, current: Namespace | undefined, waking: Waking): void {
    const state = this.#state(name);
    const isolation = isolationOf(current);
    const { closed, problem } = state.isolation;
    if (closed !== isolation.closed || problem !== isolation.problem) waking.namespaces.add(name);
    state.isolation = isolation;
    if (this.#membership.setNamespace(name, current?.metadata.labels) && waking.members !== "all") {
      for (const key of state.pods.keys()) waking.members.add(key);
    }
    this.#forget(name, state);
  }

  #changePolicy(
    previous: PolicyModel | undefined,
    current: PolicyModel | undefined,
    waking: Waking,
  ): void {
    const policy = current ?? previous;
    if (policy === undefined) return;
    const { key, namespace } = policy;
    const state = this.#state(namespace);
    if (current === undefined) state.policies.delete(key);
    else state.policies.set(key, current);
    state.list = undefined;
    if (state.local.size > 0) {
      waking.policies.add(key);
      if (!sameTarget(previous, current)) waking.namespaces.add(namespace);
      const old = state.compiled.get(key);
      state.compiled.delete(key);
      // The new one first, so that a set which both name stays.
      if (current !== undefined) this.#compile(key, current, state);
      this.#release(old, waking);
    }
    this.#forget(namespace, state);
  }

  #state(name: string): NamespaceState {
    const known = this.#namespaces.get(name);
    if (known !== undefined) return known;
    const made: NamespaceState = {
      isolation: { closed: false },
      pods: new Map(),
      local: new Set(),
      policies: new Map(),
      compiled: new Map(),
      list: undefined,
    };
    this.#namespaces.set(name, made);
    return made;
  }

  #forget(name: string, { isolation, pods, policies }: NamespaceState): void {
    const empty = pods.size === 0 && policies.size === 0 && !isolation.closed &&
      isolation.problem === undefined;
    if (empty) this.#namespaces.delete(name);
  }
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

function same(one: PodFacts | undefined, other: PodFacts | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.node === other.node && one.labels === other.labels && one.ports === other.ports &&
    sameAddresses(one, other);
}

function sameAddresses(one: PodFacts | undefined, other: PodFacts | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.addresses.length === other.addresses.length &&
    one.addresses.every((address, i) => address === other.addresses[i]);
}

/** Whether the namespace's chain says the same of both. */
function sameTarget(one: PolicyModel | undefined, other: PolicyModel | undefined): boolean {
  return one !== undefined && other !== undefined && one.target.text === other.target.text &&
    one.audit === other.audit && (one.ingress === undefined) === (other.ingress === undefined) &&
    (one.egress === undefined) === (other.egress === undefined);
}
