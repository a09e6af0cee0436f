/** Label selectors in a canonical form, so that equal selectors are one, however they were written. */

import type { Labels, LabelSelector } from "../../kernel/plugin.ts";

/** A selector that is ready to be asked. */
export interface Selector {
  /** Equal selectors have equal texts: "*", "app In (a,b),tier Exists". */
  readonly text: string;
  /** Whether it selects all. */
  readonly all: boolean;
  /** One label that all must have that it selects, if there is one. */
  readonly label: { readonly key: string; readonly value: string } | undefined;
  matches(labels: Labels): boolean;
}

type Operator = LabelSelector["matchExpressions"][number]["operator"];

interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

export const EVERYTHING: Selector = { text: "*", all: true, label: undefined, matches: () => true };

const known = new WeakMap<LabelSelector, Selector>();

/** The canonical form: `matchLabels` and an `In` of one value are the same, order and repetition do not matter. */
export function compileSelector(selector: LabelSelector): Selector {
  const old = known.get(selector);
  if (old !== undefined) return old;
  const made = compile(selector);
  known.set(selector, made);
  return made;
}

function compile({ matchLabels, matchExpressions }: LabelSelector): Selector {
  const requirements = new Map<string, Requirement>();
  const add = (requirement: Requirement) => {
    requirements.set(requirementText(requirement), requirement);
  };
  for (const [key, value] of Object.entries(matchLabels)) {
    add({ key, operator: "In", values: [value] });
  }
  for (const { key, operator, values } of matchExpressions) {
    const counted = operator === "In" || operator === "NotIn";
    add({ key, operator, values: counted ? [...new Set(values)].toSorted() : [] });
  }
  if (requirements.size === 0) return EVERYTHING;
  const list = [...requirements.values()];
  const exact = list.find(({ operator, values }) => operator === "In" && values.length === 1);
  return {
    text: [...requirements.keys()].toSorted().join(","),
    all: false,
    label: exact === undefined ? undefined : { key: exact.key, value: exact.values[0] ?? "" },
    matches: (labels) => list.every((requirement) => holds(requirement, labels)),
  };
}

function requirementText({ key, operator, values }: Requirement): string {
  return values.length === 0 ? `${key} ${operator}` : `${key} ${operator} (${values.join(",")})`;
}

/** `NotIn` holds where the label is absent (apimachinery, labels.Requirement). */
function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  // A label may be called "constructor".
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
