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

/** One object with the path that leads to it. */
export interface Fields {
  readonly raw: Raw;
  readonly path: string;
  readonly problem: Problem;
}

export function fieldsOf(raw: unknown, problem: Problem, path = ""): Fields {
  if (isRecord(raw)) return { raw, path, problem };
  if (raw !== undefined && raw !== null) problem(path, `must be an object, not ${show(raw)}`);
  return { raw: NOTHING, path, problem };
}

export function has({ raw }: Fields, key: string): boolean {
  return raw[key] !== undefined && raw[key] !== null;
}

export function pathOf({ path }: Fields, key: string): string {
  return path === "" ? key : `${path}.${key}`;
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
  return fieldsOf(fields.raw[key], fields.problem, pathOf(fields, key));
}

/** What `read` makes of each item; items of which it makes undefined are left out. */
export function list<T>(
  fields: Fields,
  key: string,
  read: (item: unknown, path: string) => T | undefined,
): readonly T[] {
  const value = fields.raw[key];
  if (!Array.isArray(value)) {
    wrong(fields, key, "a list");
    return NO_LIST;
  }
  if (value.length === 0) return NO_LIST;
  const items: T[] = [];
  for (let index = 0; index < value.length; index++) {
    const item = read(value[index], `${pathOf(fields, key)}[${index}]`);
    if (item !== undefined) items.push(item);
  }
  return items.length === 0 ? NO_LIST : items;
}

export function texts(fields: Fields, key: string): readonly string[] {
  return list(fields, key, (item, path) => {
    if (typeof item === "string") return shareText(item);
    fields.problem(path, `must be a text, not ${show(item)}`);
    return undefined;
  });
}

export function records<T>(
  fields: Fields,
  key: string,
  read: (item: Fields) => T | undefined,
): readonly T[] {
  return list(fields, key, (item, path) => {
    if (isRecord(item)) return read({ raw: item, path, problem: fields.problem });
    fields.problem(path, `must be an object, not ${show(item)}`);
    return undefined;
  });
}

/** A map of texts. */
export function labels(
  fields: Fields,
  key: string,
  keep: (name: string) => boolean = () => true,
): Readonly<Record<string, string>> {
  const { raw, path, problem } = object(fields, key);
  let found: Record<string, string> | undefined;
  for (const name in raw) {
    if (!keep(name)) continue;
    const value = raw[name];
    // An own property even for the name "__proto__", which assignment would lose.
    if (typeof value === "string") {
      found ??= {};
      if (name === "__proto__") Object.defineProperty(found, name, { value, enumerable: true });
      else found[name] = shareText(value);
    } else if (value !== null) problem(`${path}.${name}`, `must be a text, not ${show(value)}`);
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
