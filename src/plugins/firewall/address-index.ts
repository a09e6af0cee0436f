/** Pods by their addresses, for 100,000 of them: without a text or a list for each. */

import { HashTable } from "../../kernel/plugin.ts";
import type { PodFacts } from "./pods.ts";

const NO_PODS: readonly PodFacts[] = [];

export class AddressIndex {
  /** By the first address of each pod, by the second, and so on. */
  readonly #tables: HashTable<PodFacts>[] = [];
  /** Those that came to an address which another one has at the same place. */
  readonly #more = new Map<string, readonly PodFacts[]>();

  add(pod: PodFacts): void {
    for (const [i, address] of pod.addresses.entries()) {
      const table = this.#tables[i] ??= new HashTable((each) => each.addresses[i] ?? "");
      const known = table.get(address);
      if (known === undefined || known.key === pod.key) table.add(address, pod);
      else this.#more.set(address, [...this.#more.get(address) ?? NO_PODS, pod]);
    }
  }

  remove(pod: PodFacts): void {
    for (const [i, address] of pod.addresses.entries()) {
      const table = this.#tables[i];
      if (table?.get(address)?.key === pod.key) table.delete(address);
      const more = this.#more.get(address);
      if (more === undefined) continue;
      const left = more.filter(({ key }) => key !== pod.key);
      if (left.length === 0) this.#more.delete(address);
      else this.#more.set(address, left);
    }
  }

  /** Pods that have an address now: one, but for a moment when it is given to the next. */
  at(address: string): readonly PodFacts[] {
    const more = this.#more.get(address) ?? NO_PODS;
    let found = more;
    for (const table of this.#tables) {
      const pod = table.get(address);
      if (pod !== undefined) found = found.length === 0 ? [pod] : [pod, ...found];
    }
    return found;
  }
}
