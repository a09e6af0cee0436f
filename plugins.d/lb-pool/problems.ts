/** What is wrong with Services, for the agent's status: an input that a reconciler reads. */

import type { Input } from "../../src/kernel/third-party.ts";

export interface ProblemBoard {
  readonly input: Input;
  /** By the Service's key. */
  readonly problems: ReadonlyMap<string, string>;
  set(problems: ReadonlyMap<string, string>): void;
}

export function problemBoard(): ProblemBoard {
  let problems: ReadonlyMap<string, string> = new Map();
  const wakes = new Set<(units: Iterable<string> | "all") => void>();
  return {
    input: {
      name: "addresses",
      synced: true,
      subscribe(wake) {
        wakes.add(wake);
        return () => void wakes.delete(wake);
      },
    },
    get problems() {
      return problems;
    },
    set(next) {
      const changed = [...new Set([...problems.keys(), ...next.keys()])]
        .filter((key) => problems.get(key) !== next.get(key));
      problems = next;
      if (changed.length > 0) { for (const wake of wakes) wake(changed); }
    },
  };
}
