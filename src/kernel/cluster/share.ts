/**
 * Keeps one copy of what many objects repeat: node names, zones, label sets, port lists. In a cluster
 * of 10,000 Services this is most of the memory. Bounded and small, for repetitions come close together
 * and what occurs once must not be kept for ever: when full, it forgets and starts anew, which costs a
 * second copy and nothing else.
 */

const CAPACITY = 4_096;
/** Longer texts are hardly ever repeated. */
const LONGEST = 128;

const texts = new Map<string, string>();
const values = new Map<string, unknown>();

export const NO_LIST: readonly never[] = Object.freeze([]);
export const NO_LABELS: Readonly<Record<string, string>> = Object.freeze({});

/** The same text, as the copy that others hold. */
export function shareText(text: string): string {
  if (text === "" || text.length > LONGEST) return text;
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (texts.size >= CAPACITY) texts.clear();
  texts.set(text, text);
  return text;
}

/** An equal value, as the copy that others hold. Only for small JSON that is never changed. */
export function shareValue<T extends object>(value: T): T {
  const key = JSON.stringify(value);
  if (key.length > LONGEST * 4) return value;
  const known = values.get(key);
  if (known !== undefined) return known as T;
  if (values.size >= CAPACITY) values.clear();
  values.set(key, value);
  return value;
}

/** The list itself, or the one empty list. */
export function shareList<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? NO_LIST : list;
}
