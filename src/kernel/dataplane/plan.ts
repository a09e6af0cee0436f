/**
 * The difference between what should be and what is, as a pure function.
 *
 * `decide` is the only place where the rules of ownership are applied: the runtime calls it for the keys that
 * changed, `plan` for all of them, so that a dry run prints what a round would do.
 */

import type { Actual, Op, Resource } from "./resource.ts";

/** A wanted key that we may not write, and why. Reported, never overwritten. */
export interface Conflict {
  readonly kind: string;
  readonly key: string;
  readonly reason: string;
  /** Linux holds what is not ours there; else two units of the plugin want the key. */
  readonly foreign?: true;
}

/** What to do about one key: an op, a conflict, or nothing. Nothing around the op: a first round decides about 80,000 keys. */
export type Decision<T> =
  | Op<T>
  | { readonly verb: "conflict"; readonly conflict: Conflict }
  | undefined;

/** The whole difference of one kind, sorted by key so that goldens are stable. */
export interface Plan<T> {
  /** Creates and updates. */
  readonly upserts: readonly Op<T>[];
  readonly deletes: readonly Op<T>[];
  readonly conflicts: readonly Conflict[];
}

/** Decides about one key. `want` undefined: nobody wants it; `have` undefined: Linux has nothing there. */
export function decide<T>(
  resource: Resource<T>,
  want: T | undefined,
  have: Actual<T> | undefined,
): Decision<T> {
  if (want === undefined) {
    return have?.owned === true ? { verb: "delete", item: have.item } : undefined;
  }
  if (have === undefined) return { verb: "create", item: want };
  if (have.owned) {
    return resource.equal(want, have.item)
      ? undefined
      : { verb: "update", item: want, have: have.item };
  }
  // Another left exactly this: writing it once more puts our mark on it.
  if (have.adoptable === true && resource.equal(want, have.item)) {
    return { verb: "update", item: want, have: have.item };
  }
  return {
    verb: "conflict",
    conflict: {
      kind: resource.kind,
      key: resource.key(want),
      reason: `Linux holds ${resource.describe(have.item)}, which is not ours; ${
        resource.remedy?.(have.item) ?? "remove it when nobody else needs it"
      }`,
      foreign: true,
    },
  };
}

/** Several units want a key, and the oldest holds it. */
export function contested(
  kind: string,
  key: string,
  losers: readonly string[],
  holder: string,
): Conflict {
  return {
    kind,
    key,
    reason: `wanted by ${losers.toSorted().join(", ")} as well, but held by ${holder}, ` +
      "which is older; give one of them another address or port",
  };
}

/** A plugin wants an item and not its parent. */
export function orphaned(
  kind: string,
  key: string,
  parentKind: string,
  parent: string,
): Conflict {
  return {
    kind,
    key,
    reason:
      `its ${parentKind} "${parent}" is not one that the plugin wants; it has to want both, or neither`,
  };
}

/** Compares all of one kind. `desired` holds each key once. */
export function plan<T>(
  resource: Resource<T>,
  desired: Iterable<T>,
  actual: Iterable<Actual<T>>,
): Plan<T> {
  const wanted = new Map<string, T>();
  for (const item of desired) wanted.set(resource.key(item), item);
  const held = new Map<string, Actual<T>>();
  for (const have of actual) held.set(resource.key(have.item), have);
  const keys = [...new Set([...wanted.keys(), ...held.keys()])].toSorted();
  const decisions = keys.map((key) => decide(resource, wanted.get(key), held.get(key)));
  const ops = decisions.flatMap((d) => d !== undefined && d.verb !== "conflict" ? [d] : []);
  return {
    upserts: ops.filter((op) => op.verb !== "delete"),
    deletes: ops.filter((op) => op.verb === "delete"),
    conflicts: decisions.flatMap((d) => d?.verb === "conflict" ? [d.conflict] : []),
  };
}
