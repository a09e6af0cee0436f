/** Communities (RFC 1997) and large communities (RFC 8092) as text. */

/** The names that kube-router and gobgp know. */
export const WELL_KNOWN: Readonly<Record<string, number>> = {
  "internet": 0x00000000,
  "planned-shut": 0xffff0000,
  "graceful-shutdown": 0xffff0000,
  "accept-own": 0xffff0001,
  "route-filter-translated-v4": 0xffff0002,
  "route-filter-v4": 0xffff0003,
  "route-filter-translated-v6": 0xffff0004,
  "route-filter-v6": 0xffff0005,
  "llgr-stale": 0xffff0006,
  "no-llgr": 0xffff0007,
  "blackhole": 0xffff029a,
  "no-export": 0xffffff01,
  "no-advertise": 0xffffff02,
  "no-export-subconfed": 0xffffff03,
  "no-peer": 0xffffff04,
};

export const NO_EXPORT = 0xffffff01;
export const NO_ADVERTISE = 0xffffff02;
export const NO_EXPORT_SUBCONFED = 0xffffff03;

const NAMES = new Map(
  Object.entries(WELL_KNOWN).filter(([name]) => name !== "planned-shut" && name !== "internet")
    .map(([name, value]) => [value, name]),
);

/** `65000:1`, or the name of a well-known one. */
export function communityText(value: number): string {
  return NAMES.get(value) ?? `${value >>> 16}:${value & 0xffff}`;
}

/** Of `65000:1`, a decimal number of 32 bits, or a well-known name; nothing when it is none of them. */
export function parseCommunity(text: string): number | undefined {
  const known = Object.hasOwn(WELL_KNOWN, text) ? WELL_KNOWN[text] : undefined;
  if (known !== undefined) return known;
  const parts = text.split(":");
  if (!parts.every((part) => /^[0-9]{1,10}$/.test(part))) return undefined;
  if (parts.length === 1) {
    const value = Number(parts[0]);
    return value <= 0xffffffff ? value : undefined;
  }
  const [high, low] = parts.map(Number);
  if (parts.length !== 2 || high === undefined || low === undefined) return undefined;
  return high <= 0xffff && low <= 0xffff ? high * 65536 + low : undefined;
}

/** Three numbers of 32 bits from `a:b:c`, or nothing. */
export function parseLargeCommunity(text: string): readonly [number, number, number] | undefined {
  const parts = text.split(":");
  if (parts.length !== 3 || !parts.every((part) => /^[0-9]{1,10}$/.test(part))) return undefined;
  const [a = 0, b = 0, c = 0] = parts.map(Number);
  return [a, b, c].every((part) => part <= 0xffffffff) ? [a, b, c] : undefined;
}

/** Texts of large communities, three numbers each. */
export function largeCommunityTexts(values: readonly number[]): string[] {
  const texts: string[] = [];
  for (let i = 0; i + 2 < values.length; i += 3) {
    texts.push(`${values[i]}:${values[i + 1]}:${values[i + 2]}`);
  }
  return texts;
}
