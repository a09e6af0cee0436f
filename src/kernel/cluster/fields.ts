/**
 * Reads fields of JSON that may hold anything. A value of the wrong type is reported with its path and
 * counts as absent; null is what the API says for absent, and is not reported.
 */

import { NO_LABELS, NO_LIST, shareText } from "./share.ts";

export type Raw = Readonly<Record<string, unknown>>;

/** Told of each wrong value: `spec.ports[0].port`, `must be an integer, not "http"`. */
export type Problem = (path: string, reason: string) => void;

const NOTHING: Raw = Object.freeze({});

export function isRecord(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * One object and the way that leads to it. The path is made only where something is reported: 100,000 of these are made and
 * thrown away while a large list is read.
 */
export interface Fields {
  readonly raw: Raw;
  readonly problem: Problem;
  /** The object that this one is in; none for the outermost. */
  readonly parent: Fields | undefined;
  /** The field of `parent` that holds it, and its place there; -1: the field is it. */
  readonly key: string;
  readonly index: number;
}

/** The outermost object. */
export function fieldsOf(raw: unknown, problem: Problem): Fields {
  return child(raw, problem, undefined, "", -1);
}

function child(
  raw: unknown,
  problem: Problem,
  parent: Fields | undefined,
  key: string,
  index: number,
): Fields {
  if (isRecord(raw)) return { raw, problem, parent, key, index };
  if (raw !== undefined && raw !== null) {
    problem(pathTo(parent, key, index), `must be an object, not ${show(raw)}`);
  }
  return { raw: NOTHING, problem, parent, key, index };
}

export function has({ raw }: Fields, key: string): boolean {
  return raw[key] !== undefined && raw[key] !== null;
}

/** `spec.ports[0]`, or with a key `spec.ports[0].port`. */
export function pathOf(fields: Fields, key = ""): string {
  const own = pathTo(fields.parent, fields.key, fields.index);
  return key === "" ? own : own === "" ? key : `${own}.${key}`;
}

function pathTo(parent: Fields | undefined, key: string, index: number): string {
  const path = parent === undefined ? key : pathOf(parent, key);
  return index < 0 ? path : `${path}[${index}]`;
}

function wrong(fields: Fields, key: string, wanted: string): undefined {
  if (has(fields, key)) {
    fields.problem(pathOf(fields, key), `must be ${wanted}, not ${show(fields.raw[key])}`);
  }
  return undefined;
}

export function text(fields: Fields, key: string): string | undefined {
  const value = fields.raw[key];
  return typeof value === "string" ? value : wrong(fields, key, "a text");
}

export function integer(fields: Fields, key: string): number | undefined {
  const value = fields.raw[key];
  return Number.isSafeInteger(value) ? value as number : wrong(fields, key, "an integer");
}

export function flag(fields: Fields, key: string): boolean | undefined {
  const value = fields.raw[key];
  return typeof value === "boolean" ? value : wrong(fields, key, "true or false");
}

export function integerOrText(fields: Fields, key: string): number | string | undefined {
  const value = fields.raw[key];
  if (Number.isSafeInteger(value)) return value as number;
  return typeof value === "string" ? value : wrong(fields, key, "an integer or a name");
}

export function object(fields: Fields, key: string): Fields {
  return child(fields.raw[key], fields.problem, fields, key, -1);
}

const NOTHING_LISTED: readonly unknown[] = [];

/** The items of a list, whatever they are. */
function listed(fields: Fields, key: string): readonly unknown[] {
  const value = fields.raw[key];
  if (Array.isArray(value)) return value;
  wrong(fields, key, "a list");
  return NOTHING_LISTED;
}

/** The items of a list that are texts. */
export function texts(fields: Fields, key: string): readonly string[] {
  const value = listed(fields, key);
  const [first] = value;
  // Nearly all have one; a list that grows takes room for three more.
  if (value.length === 1 && typeof first === "string") return [shareText(first)];
  const found: string[] = [];
  for (let index = 0; index < value.length; index++) {
    const item = value[index];
    if (typeof item === "string") found.push(shareText(item));
    else fields.problem(pathTo(fields, key, index), `must be a text, not ${show(item)}`);
  }
  return found.length === 0 ? NO_LIST : found;
}

/** What `read` makes of each item that is an object; those of which it makes undefined are left out. */
export function records<T>(
  fields: Fields,
  key: string,
  read: (item: Fields) => T | undefined,
): readonly T[] {
  const value = listed(fields, key);
  const found: T[] = [];
  for (let index = 0; index < value.length; index++) {
    const raw = value[index];
    if (!isRecord(raw)) {
      fields.problem(pathTo(fields, key, index), `must be an object, not ${show(raw)}`);
      continue;
    }
    const item = read({ raw, problem: fields.problem, parent: fields, key, index });
    if (item !== undefined) found.push(item);
  }
  // Without the room that a list which grew has left.
  return found.length === 0 ? NO_LIST : found.slice();
}

/** A map of texts. */
export function labels(
  fields: Fields,
  key: string,
  keep: (name: string) => boolean = () => true,
): Readonly<Record<string, string>> {
  const held = object(fields, key);
  const { raw, problem } = held;
  let found: Record<string, string> | undefined;
  for (const name in raw) {
    if (!keep(name)) continue;
    const value = raw[name];
    // An own property even for the name "__proto__", which assignment would lose.
    if (typeof value === "string") {
      found ??= {};
      if (name === "__proto__") Object.defineProperty(found, name, { value, enumerable: true });
      else found[name] = shareText(value);
    } else if (value !== null) problem(pathOf(held, name), `must be a text, not ${show(value)}`);
  }
  return found ?? NO_LABELS;
}

/** A value as an error shows it: short, and never more than one line. */
export function show(value: unknown): string {
  const shown = typeof value === "string"
    ? JSON.stringify(value)
    : JSON.stringify(value) ?? "nothing";
  return shown.length > 60 ? `${shown.slice(0, 57)}…` : shown;
}
