/** Ops as one transaction. One that Linux refuses costs itself: the others are sent again without it. */

import { KernelError } from "../../errors.ts";
import type { Op, Outcome, Resource } from "../../resource.ts";
import { kernelError, type Refusal } from "../errno.ts";
import type { Write } from "./socket.ts";
import type { NftState } from "./state.ts";

/** What one op writes, in steps: the first step of all ops comes first, and so on. */
export interface Part<T> {
  readonly op: Op<T>;
  readonly steps: readonly (readonly Write[])[];
}

/** What a user does about a refusal, if that is known. */
type Remedy<T> = (op: Op<T>, refusal: Refusal) => string | undefined;

/** The error of an op. */
export function refused<T>(
  resource: Resource<T>,
  op: Op<T>,
  refusal: Refusal,
  remedy: Remedy<T>,
): KernelError {
  const advice = remedy(op, refusal) ?? generalRemedy(refusal);
  return kernelError(`${op.verb} ${resource.kind}`, refusal, {
    object: resource.key(op.item),
    ...(advice === undefined ? {} : { remedy: advice }),
  });
}

/** How often refused ops are taken out at once before each op goes alone. */
const ROUNDS = 8;

/**
 * Carries out the parts; outcomes in the order of `ops`, of which those without a part have nothing to do.
 *
 * @param standIn what is written in the stead of an op that was refused, if anything: others may need that something is there
 * @param prelude what all of them need, whichever are refused; where Linux refuses that, it refuses all
 */
export function transact<T>(
  state: NftState,
  resource: Resource<T>,
  ops: readonly Op<T>[],
  render: (op: Op<T>) => Part<T>["steps"],
  remedy: Remedy<T>,
  standIn: (op: Op<T>) => Part<T>["steps"] | undefined = () => undefined,
  prelude: readonly Write[] = [],
): readonly Outcome<T>[] {
  const errors = new Map<Op<T>, KernelError>();
  const refuse = (op: Op<T>, refusal: Refusal): void => {
    if (!errors.has(op)) errors.set(op, refused(resource, op, refusal, remedy));
  };
  let left: Part<T>[] = [];
  const standsIn = new Set<Part<T>>();
  /** What is left to write, once some are refused. */
  const without = (taken: ReadonlyMap<Part<T>, Refusal>): Part<T>[] =>
    left.flatMap((part) => {
      if (!taken.has(part)) return [part];
      const steps = standsIn.has(part) ? undefined : standIn(part.op);
      if (steps === undefined) return [];
      const instead = { op: part.op, steps };
      standsIn.add(instead);
      return [instead];
    });
  for (const op of ops) {
    const steps = render(op);
    if (steps.some((step) => step.length > 0)) left.push({ op, steps });
  }
  for (let round = 0; left.length > 0; round++) {
    const alone = left.length > 1 && round >= ROUNDS;
    if (alone) {
      const bare = left.flatMap(({ op }) => {
        const steps = standIn(op);
        return steps === undefined ? [] : [{ op, steps }];
      });
      if (bare.length > 0) together(state, bare, prelude);
    }
    const [taken, lost] = alone ? oneByOne(state, left, prelude) : together(state, left, prelude);
    for (const [part, refusal] of taken) refuse(part.op, refusal);
    if (lost !== undefined) {
      for (const { op } of left) if (!errors.has(op)) errors.set(op, lost);
      break;
    }
    if (taken.size === 0 || alone) break;
    left = without(taken);
  }
  return ops.map((op) => {
    const error = errors.get(op);
    return error === undefined ? { op } : { op, error };
  });
}

type Refused<T> = readonly [ReadonlyMap<Part<T>, Refusal>, lost?: KernelError];

function together<T>(
  state: NftState,
  parts: readonly Part<T>[],
  prelude: readonly Write[],
): Refused<T> {
  const messages: Write[] = [...prelude];
  const owners: Part<T>[] = [];
  const steps = Math.max(...parts.map((part) => part.steps.length));
  for (let step = 0; step < steps; step++) {
    for (const part of parts) {
      for (const write of part.steps[step] ?? []) {
        messages.push(write);
        owners.push(part);
      }
    }
  }
  const refused = new Map<Part<T>, Refusal>();
  try {
    const refusals = state.batch("write nftables", messages);
    const whole = refusals.get(-1);
    for (const [i, refusal] of refusals) {
      const part = owners[i - prelude.length];
      if (part !== undefined && !refused.has(part)) refused.set(part, refusal);
    }
    const common = prelude.map((_, i) => refusals.get(i)).find((refusal) => refusal !== undefined);
    // Nobody is named: each alone, to see whose it is.
    if (refused.size === 0 && common === undefined && whole !== undefined && parts.length > 1) {
      return oneByOne(state, parts, prelude);
    }
    const all = common ?? (refused.size === 0 ? whole : undefined);
    if (all !== undefined) { for (const part of parts) refused.set(part, all); }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return [refused, error];
  }
  return [refused];
}

function oneByOne<T>(
  state: NftState,
  parts: readonly Part<T>[],
  prelude: readonly Write[],
): Refused<T> {
  const refused = new Map<Part<T>, Refusal>();
  for (const part of parts) {
    const [one, lost] = together(state, [part], prelude);
    for (const [which, refusal] of one) refused.set(which, refusal);
    if (lost !== undefined) return [refused, lost];
  }
  return [refused];
}

const EPERM = 1;
const EOPNOTSUPP = 95;

function generalRemedy(refusal: Refusal): string | undefined {
  if (refusal.errno === EPERM) return "run as root or give the process CAP_NET_ADMIN";
  return refusal.errno === EOPNOTSUPP
    ? "use a Linux with nf_tables for IPv4 and IPv6, or choose --netfilter=iptables"
    : undefined;
}
