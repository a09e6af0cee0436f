/** JSON values: the little that defaults, patches and selectors share. */

export type Json = Readonly<Record<string, unknown>>;
export type MutableJson = Record<string, unknown>;

export function isObject(value: unknown): value is MutableJson {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function objectOf(value: unknown): Json {
  return isObject(value) ? value : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/**
 * A deep copy without nulls, as decoding into Go types leaves it. A list keeps its other items.
 */
export function withoutNulls<T>(value: T): T {
  return copy(value) as T;
}

function copy(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => item !== null).map(copy);
  if (!isObject(value)) return value instanceof Date ? value.toISOString() : value;
  const copied: MutableJson = {};
  for (const key in value) {
    const field = value[key];
    if (field !== null && field !== undefined) copied[key] = copy(field);
  }
  return copied;
}

/** Objects merge field by field; anything else replaces. */
export function deepMerge(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over;
  const merged: MutableJson = { ...base };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = key in base ? deepMerge(base[key], value) : value;
  }
  return merged;
}

/** The value at a dotted path, undefined where there is none. */
export function at(value: unknown, path: string): unknown {
  let found: unknown = value;
  for (const step of path.split(".")) {
    if (!isObject(found)) return undefined;
    found = found[step];
  }
  return found;
}
