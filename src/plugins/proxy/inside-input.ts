/** Which frontends clients inside the cluster reach by marks, kept up to date: marks depend on all Services that need them. */

import type { Family } from "../../kernel/ip.ts";
import type { Derived, Input, PluginContext, Service, Store } from "../../kernel/plugin.ts";
import { type InsideFrontend, type InsideMarks, insideMarks, splitFrontends } from "./inside.ts";
import { markKey, Marks } from "./marks.ts";
import { serviceKey } from "./service-names.ts";
import {
  type Frontend,
  LOCAL_ANNOTATION,
  planService,
  type ServiceContext,
} from "./service-plan.ts";

const BY_POLICY = "external policy";

/** Wakes the Services whose marks changed. */
export interface InsideInput extends Input {
  /** The marks of a Service ("namespace/name"); none for nearly all. */
  of(unit: string): InsideMarks;
  /** What a mark stands for, or stood for last. */
  behind(mark: number, family: Family): InsideFrontend | undefined;
  /** Each address and port once, by mark. */
  values(): readonly InsideFrontend[];
}

export interface InsideSources {
  readonly services: Store<Service>;
  readonly shared: Derived<{ readonly context: ServiceContext }>;
  readonly input: PluginContext<unknown>["input"];
  /** Which Service comes first where several come at a time: the lower text. */
  readonly rank: (unit: string) => string;
}

/** Whether the policy of a Service may tell clients outside from those inside. Cheap: it is asked for every Service. */
function mayDiffer({ metadata, spec }: Service): boolean {
  return spec.externalTrafficPolicy === "Local" ||
    metadata.annotations[LOCAL_ANNOTATION] !== undefined;
}

const NONE: InsideMarks = new Map();

/** A Service that has marks, or would have some. */
interface Holder {
  /** Keys of the marks that it has. */
  readonly keys: ReadonlySet<string>;
  readonly marks: InsideMarks;
}

/**
 * Looks at a Service under such a policy when it comes, changes or goes, and not at the others; not when endpoints do. Who has
 * a mark keeps it. At the start they are given by rank, so that a restarted agent finds nearly always what it left.
 */
export function insideInput({ services, shared, input, rank }: InsideSources): InsideInput {
  services.addIndex(BY_POLICY, (service) => mayDiffer(service) ? [""] : []);
  const wakers = new Set<(units: Iterable<string>) => void>();
  const recalled = new Map<string, InsideFrontend>();
  const marks = new Marks();
  const holders = new Map<string, Holder>();
  /** Those for which marks ran out. */
  const lacking = new Set<string>();
  let all: readonly InsideFrontend[] | undefined;

  function frontendsOf(unit: string): readonly Frontend[] {
    const service = services.get(unit);
    return service === undefined || !mayDiffer(service)
      ? []
      : splitFrontends(planService(service, [], shared.value.context));
  }

  /** Gives back what a Service wants no more. */
  function release(unit: string, frontends: readonly Frontend[]): void {
    const keys = new Set(frontends.map(markKey));
    for (const key of holders.get(unit)?.keys ?? []) if (!keys.has(key)) marks.release(key);
  }

  /** Takes what it wants. Returns whether its marks are others now. */
  function take(unit: string, frontends: readonly Frontend[]): boolean {
    const before = holders.get(unit);
    const keys = new Set(
      frontends.map(markKey).filter((key) =>
        before?.keys.has(key) === true || marks.take(key) !== undefined
      ),
    );
    const now = insideMarks(frontends, marks);
    if (keys.size < frontends.length) lacking.add(unit);
    else lacking.delete(unit);
    if (frontends.length === 0) holders.delete(unit);
    else holders.set(unit, { keys, marks: now });
    for (const front of now.values()) recalled.set(`${front.family} ${front.mark}`, front);
    return textOf(before?.marks) !== textOf(now);
  }

  function update(units: Iterable<string>): void {
    const looked = [...new Set([...units, ...lacking])]
      .map((unit) => ({ unit, rank: rank(unit), frontends: frontendsOf(unit) }))
      .toSorted((a, b) => a.rank < b.rank ? -1 : 1);
    // What one gives back may be what another needs.
    for (const { unit, frontends } of looked) release(unit, frontends);
    const changed = looked.filter(({ unit, frontends }) => take(unit, frontends))
      .map(({ unit }) => unit);
    if (changed.length === 0) return;
    all = undefined;
    for (const wake of wakers) wake(changed);
  }

  function updateAll(): void {
    update([...services.by(BY_POLICY, "").map(serviceKey), ...holders.keys()]);
  }

  /** By mark, so that the order does not tell who came first. */
  function listed(): readonly InsideFrontend[] {
    const each = new Map<string, InsideFrontend>();
    for (const holder of holders.values()) {
      for (const front of holder.marks.values()) each.set(`${front.family} ${front.mark}`, front);
    }
    return [...each.values()].toSorted((a, b) => a.family - b.family || a.mark - b.mark);
  }

  input(services, (service) => mayDiffer(service) ? [serviceKey(service)] : []).subscribe(
    (units) => {
      if (units === "all") updateAll();
      else update(units);
    },
  );
  shared.subscribe((units) => {
    if (units === "all") updateAll();
  });
  updateAll();
  return {
    name: "clients inside",
    get synced() {
      return shared.synced && services.synced;
    },
    get waitsFor() {
      return shared.waitsFor;
    },
    subscribe(wake) {
      const waker = (units: Iterable<string>): void => wake(units);
      wakers.add(waker);
      return () => void wakers.delete(waker);
    },
    of: (unit) => holders.get(unit)?.marks ?? NONE,
    behind: (mark, family) => recalled.get(`${family} ${mark}`),
    values: () => all ??= listed(),
  };
}

function textOf(marks: InsideMarks | undefined): string {
  return marks === undefined || marks.size === 0 ? "" : JSON.stringify([...marks]);
}
