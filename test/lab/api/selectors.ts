/** Label and field selectors, as apimachinery parses them. */

import type { Kind } from "./kinds.ts";
import { badRequest } from "./status.ts";
import type { KubeObject } from "./types.ts";
import { at } from "./values.ts";

export type Predicate = (object: KubeObject) => boolean;

type Labels = Readonly<Record<string, string>>;
type Requirement = (labels: Labels) => boolean;

const NO_LABELS: Labels = {};
const KEY = "[A-Za-z0-9][-A-Za-z0-9_.]*(?:/[A-Za-z0-9][-A-Za-z0-9_.]*)?";
const VALUE = "[-A-Za-z0-9_.]*";
const FORMS: readonly [RegExp, (key: string, value: string) => Requirement][] = [
  [
    new RegExp(`^(${KEY})\\s+in\\s+\\(([^)]*)\\)$`),
    (key, values) => (labels) => split(values).includes(labels[key] ?? "\0"),
  ],
  [
    new RegExp(`^(${KEY})\\s+notin\\s+\\(([^)]*)\\)$`),
    (key, values) => (labels) => !split(values).includes(labels[key] ?? "\0"),
  ],
  [new RegExp(`^(${KEY})\\s*!=\\s*(${VALUE})$`), (key, value) => (labels) => labels[key] !== value],
  [
    new RegExp(`^(${KEY})\\s*==?\\s*(${VALUE})$`),
    (key, value) => (labels) => labels[key] === value,
  ],
  [new RegExp(`^!\\s*(${KEY})$`), (key) => (labels) => !(key in labels)],
  [new RegExp(`^(${KEY})$`), (key) => (labels) => key in labels],
];

function split(values: string): readonly string[] {
  return values.split(",").map((value) => value.trim());
}

/** Equality (`a=b`, `a!=b`) and set based (`a in (b,c)`, `a`, `!a`); throws a 400 on others. */
export function labelSelector(text: string): Predicate | undefined {
  if (text.trim() === "") return undefined;
  // Commas inside parentheses belong to a set of values.
  const requirements = text.split(/,(?![^(]*\))/).map((part) => requirement(part.trim(), text));
  return (object) => {
    const labels = object.metadata?.labels ?? NO_LABELS;
    return requirements.every((matches) => matches(labels));
  };
}

function requirement(part: string, text: string): Requirement {
  for (const [form, make] of FORMS) {
    const found = form.exec(part);
    if (found !== null) return make(found[1] ?? "", found[2] ?? "");
  }
  throw badRequest(`unable to parse requirement "${part}" of label selector "${text}"`);
}

/** `path=value,path!=value` over the fields that the kind allows; throws a 400 on others. */
export function fieldSelector(kind: Kind, text: string): Predicate | undefined {
  if (text.trim() === "") return undefined;
  const tests = text.split(",").map((part) => fieldTest(kind, part.trim(), text));
  return (object) => tests.every((matches) => matches(object));
}

function fieldTest(kind: Kind, part: string, text: string): Predicate {
  const found = /^([\w.]+)\s*(!=|==?)\s*(.*)$/.exec(part);
  if (found === null) {
    throw badRequest(`invalid field selector "${text}"; can't understand "${part}"`);
  }
  const [, path = "", operator, wanted = ""] = found;
  const known = path === "metadata.name" || (path === "metadata.namespace" && kind.namespaced) ||
    kind.fields.includes(path);
  if (!known) throw badRequest(`field label not supported: ${path}`);
  return (object) => {
    const value = at(object, path);
    // An absent field reads as its zero value, of which `spec.unschedulable` shows a boolean's.
    const read = value === undefined ? zero(path) : String(value);
    return (read === wanted) === (operator !== "!=");
  };
}

function zero(path: string): string {
  return path === "spec.unschedulable" || path === "spec.hostNetwork" ? "false" : "";
}

/** Both hold; undefined where neither is given. */
export function both(a: Predicate | undefined, b: Predicate | undefined): Predicate | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : (object) => a(object) && b(object);
}
