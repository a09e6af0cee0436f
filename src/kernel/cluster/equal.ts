/**
 * Whether two trees of JSON say the same. A key whose value is undefined counts as absent.
 *
 * @param except a key that is passed over wherever it occurs
 */
export function equal(one: unknown, other: unknown, except?: string): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) {
    return false;
  }
  if (Array.isArray(one)) {
    return Array.isArray(other) && one.length === other.length &&
      one.every((item, index) => equal(item, other[index], except));
  }
  if (Array.isArray(other)) return false;
  const left = one as Readonly<Record<string, unknown>>;
  const right = other as Readonly<Record<string, unknown>>;
  for (const key in left) {
    if (key !== except && !equal(left[key], right[key], except)) return false;
  }
  for (const key in right) {
    if (key !== except && right[key] !== undefined && left[key] === undefined) return false;
  }
  return true;
}
