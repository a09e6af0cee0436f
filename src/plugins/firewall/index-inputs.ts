/** Keeps the index in step with the stores, and wakes the units that each change concerns. */

import type { Input, Namespace, NetworkPolicy, Pod, StoreLike } from "../../kernel/plugin.ts";
import type { Change, PolicyIndex, Woken } from "./policy-index.ts";

/** One input for each reconciler. */
export interface IndexInputs {
  readonly base: Input;
  readonly pods: Input;
  readonly members: Input;
  readonly policies: Input;
  readonly namespaces: Input;
}

export interface IndexStores {
  readonly pods: Filled<Pod>;
  readonly namespaces: Filled<Namespace>;
  readonly networkpolicies: Filled<NetworkPolicy>;
}

interface Filled<T> extends StoreLike<T> {
  keys(): Iterable<string>;
  get(key: string): T | undefined;
}

type Wake = Parameters<Input["subscribe"]>[0];

const NOBODY: readonly string[] = [];

export function indexInputs(index: PolicyIndex, stores: IndexStores): IndexInputs {
  const all = [stores.pods, stores.namespaces, stores.networkpolicies];
  let receivedAt: number | undefined;
  const tellers: ((woken: Woken | undefined) => void)[] = [];
  const follow = <T>(store: Filled<T>, take: (changes: readonly Change<T>[]) => Woken): void => {
    // Other plugins may have had it filled before.
    take([...store.keys()].flatMap((key) => {
      const current = store.get(key);
      return current === undefined ? [] : [{ key, current }];
    }));
    store.subscribe((changes) => {
      // A batch without changes says that the store is synced now.
      const woken = changes.length === 0 ? undefined : take(changes);
      receivedAt = store.receivedAt;
      for (const tell of tellers) tell(woken);
    });
  };
  follow(stores.namespaces, (changes) => index.changeNamespaces(changes));
  follow(stores.networkpolicies, (changes) => index.changePolicies(changes));
  follow(stores.pods, (changes) => index.changePods(changes));

  const input = (
    name: string,
    units: (woken: Woken) => Iterable<string> | "all",
  ): Input => {
    const wakes = new Set<Wake>();
    tellers.push((woken) => {
      for (const wake of wakes) wake(woken === undefined ? NOBODY : units(woken));
    });
    return {
      name,
      get synced() {
        return all.every((store) => store.synced);
      },
      get receivedAt() {
        return receivedAt;
      },
      subscribe(wake) {
        const own: Wake = (woken) => wake(woken);
        wakes.add(own);
        return () => void wakes.delete(own);
      },
    };
  };
  return {
    base: input("pods of this node", ({ base }) => base ? "all" : NOBODY),
    pods: input("pods", ({ pods }) => pods),
    members: input("members", ({ members }) => members),
    policies: input("policies", ({ policies }) => policies),
    namespaces: input("namespaces", ({ namespaces }) => namespaces),
  };
}
