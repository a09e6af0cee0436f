/** Addresses as numbers, and the ranges of a pool. Pure. */

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

/** Addresses from `first` to `last`, both included. */
export interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
  /** Only Services that ask for this name get addresses of it; "": all others. */
  readonly pool: string;
  /** As it was given. */
  readonly text: string;
}

/** An address in any spelling; undefined where the text is none. One that is IPv4 mapped to IPv6 is IPv4. */
export const parseAddress = remembered((text: string): Address | undefined => {
  const v4 = ipv4(text);
  if (v4 !== undefined) return { family: 4, value: v4 };
  if (!/^[0-9a-f:.]+$/i.test(text) || !URL.canParse(`http://[${text}]/`)) return undefined;
  // The parser of URLs writes it in hexadecimal, as RFC 5952 does.
  const [head = "", tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split("::");
  const left = groups(head);
  const right = groups(tail ?? "");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const value = [...left, ...Array<bigint>(zeros).fill(0n), ...right]
    .reduce((sum, group) => sum << 16n | group, 0n);
  return value >> 32n === 0xffffn
    ? { family: 4, value: value & 0xffffffffn }
    : { family: 6, value };
});

function ipv4(text: string): bigint | undefined {
  const octets = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  return octets === undefined || octets.some((octet) => octet > 255)
    ? undefined
    : octets.reduce((sum, octet) => sum << 8n | BigInt(octet), 0n);
}

function groups(text: string): readonly bigint[] {
  return text === "" ? [] : text.split(":").map((group) => BigInt(`0x${group}`));
}

/** The one text of an address: dotted decimal, or as in RFC 5952. */
export function addressText({ family, value }: Address): string {
  if (family === 4) {
    const n = Number(value);
    return `${n >>> 24}.${n >>> 16 & 255}.${n >>> 8 & 255}.${n & 255}`;
  }
  const parts = Array.from({ length: 8 }, (_, i) => value >> BigInt(112 - 16 * i) & 0xffffn);
  const text = parts.map((part) => part.toString(16)).join(":");
  return new URL(`http://[${text}]/`).hostname.slice(1, -1);
}

/** The text of an address in its one form; undefined where it is none. */
export const canonical = remembered((text: string): string | undefined => {
  const address = parseAddress(text);
  return address && addressText(address);
});

/**
 * `10.0.0.0/24`, `10.0.0.10-10.0.0.99`, or one address; before it perhaps the pool's name: `blue=10.0.0.0/24`.
 *
 * @throws {Error} that says what is allowed
 */
export function parseRange(given: string): Range {
  const [, pool = "", text = ""] = /^(?:([A-Za-z0-9._-]+)=)?(.*)$/s.exec(given) ?? [];
  const fail = (reason: string): never => {
    throw new Error(
      `Range "${given}" cannot be used: ${reason}; allowed is ADDRESS/BITS, FIRST-LAST or ADDRESS, after NAME= or not`,
    );
  };
  const address = (part: string): Address =>
    parseAddress(part.trim()) ?? fail(`"${part.trim()}" is no address`);
  const [from = "", to, ...more] = text.split("-");
  if (more.length > 0) fail("it has more than one dash");
  if (to !== undefined) {
    const [first, last] = [address(from), address(to)];
    if (first.family !== last.family) fail("its ends are of two families");
    if (first.value > last.value) fail("it ends before it begins");
    return { family: first.family, first: first.value, last: last.value, pool, text };
  }
  const [base = "", digits, ...rest] = text.split("/");
  const { family, value } = address(base);
  const width = family === 4 ? 32 : 128;
  const bits = digits === undefined ? width : Number(digits);
  if (rest.length > 0 || (digits !== undefined && !/^\d{1,3}$/.test(digits)) || bits > width) {
    fail(`its prefix has to be a number up to ${width}`);
  }
  const size = 1n << BigInt(width - bits);
  const first = value / size * size;
  return { family, first, last: first + size - 1n, pool, text };
}

/**
 * The ranges of a pool, in the order in which addresses are taken.
 *
 * @throws {Error} where one cannot be read, or two have an address in common
 */
export function parsePool(texts: readonly string[]): readonly Range[] {
  const ranges = texts.map(parseRange);
  for (const [i, one] of ranges.entries()) {
    const other = ranges.slice(0, i).find((before) => overlap(before, one));
    if (other !== undefined) {
      throw new Error(
        `Ranges "${other.text}" and "${one.text}" overlap; take the common addresses out of one`,
      );
    }
  }
  return ranges;
}

function overlap(a: Range, b: Range): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

const finders = new WeakMap<readonly Range[], (text: string) => Range | undefined>();

/** The range that an address lies in. */
export function rangeOf(ranges: readonly Range[], text: string): Range | undefined {
  const find = finders.get(ranges) ?? remembered((text: string) => {
    const address = parseAddress(text);
    return address &&
      ranges.find(({ family, first, last }) =>
        family === address.family && first <= address.value && address.value <= last
      );
  });
  finders.set(ranges, find);
  return find(text);
}

const MOST_REMEMBERED = 100_000;

/** A pure function of a text that is asked for the same few over and over. */
function remembered<T>(make: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    if (known.has(text)) return known.get(text) as T;
    const value = make(text);
    if (known.size >= MOST_REMEMBERED) known.clear();
    known.set(text, value);
    return value;
  };
}
