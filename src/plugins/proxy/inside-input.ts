/** Which frontends clients inside the cluster reach by marks, kept up to date: marks depend on all Services that need them. */

import type { Family } from "../../kernel/ip.ts";
import type { Input, PluginContext, Service, Store } from "../../kernel/plugin.ts";
import type { Derived } from "./inputs.ts";
import { type InsideFrontend, type InsideMarks, insideMarks, splitFrontends } from "./inside.ts";
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
  /** Each address and port once. */
  values(): readonly InsideFrontend[];
}

export interface InsideSources {
  readonly services: Store<Service>;
  readonly shared: Derived<{ readonly context: ServiceContext }>;
  readonly input: PluginContext<unknown>["input"];
  /** Which Service wins: the lower text. */
  readonly rank: (unit: string) => string;
}

/** Whether the policy of a Service may tell clients outside from those inside. Cheap: it is asked for every Service. */
function mayDiffer({ metadata, spec }: Service): boolean {
  return spec.externalTrafficPolicy === "Local" ||
    metadata.annotations[LOCAL_ANNOTATION] !== undefined;
}

function keyOf({ metadata }: Service): string {
  return `${metadata.namespace}/${metadata.name}`;
}

const NONE: InsideMarks = new Map();

/** Computes marks anew when a Service under such a policy comes, changes or goes, not when its endpoints do. */
export function insideInput({ services, shared, input, rank }: InsideSources): InsideInput {
  services.addIndex(BY_POLICY, (service) => mayDiffer(service) ? [""] : []);
  const wakers = new Set<(units: Iterable<string>) => void>();
  const recalled = new Map<string, InsideFrontend>();
  let marks: ReadonlyMap<string, InsideMarks> = new Map();
  let all: readonly InsideFrontend[] = [];
  /** The frontends of Services that have not changed. */
  let planned = new WeakMap<Service, readonly Frontend[]>();

  function frontendsOf(service: Service): readonly Frontend[] {
    const known = planned.get(service);
    if (known !== undefined) return known;
    const found = splitFrontends(planService(service, [], shared.value.context));
    planned.set(service, found);
    return found;
  }

  function update(): void {
    const before = marks;
    marks = insideMarks(
      services.by(BY_POLICY, "")
        .map((service) => ({ service, rank: rank(keyOf(service)) }))
        .toSorted((a, b) => a.rank < b.rank ? -1 : 1)
        .map(({ service }) => [keyOf(service), frontendsOf(service)]),
    );
    const each = new Map<string, InsideFrontend>();
    for (const its of marks.values()) {
      for (const front of its.values()) each.set(`${front.family} ${front.mark}`, front);
    }
    for (const [key, front] of each) recalled.set(key, front);
    all = [...each.values()];
    const keys = [...new Set([...before.keys(), ...marks.keys()])]
      .filter((key) => textOf(before.get(key)) !== textOf(marks.get(key)));
    if (keys.length > 0) { for (const wake of wakers) wake(keys); }
  }

  input(services, (service) => mayDiffer(service) ? [keyOf(service)] : []).subscribe((units) => {
    if (units === "all" || [...units].length > 0) update();
  });
  shared.subscribe((units) => {
    if (units !== "all") return;
    planned = new WeakMap();
    update();
  });
  update();
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
    of: (unit) => marks.get(unit) ?? NONE,
    behind: (mark, family) => recalled.get(`${family} ${mark}`),
    values: () => all,
  };
}

function textOf(marks: InsideMarks | undefined): string {
  return marks === undefined ? "" : JSON.stringify([...marks]);
}
