/**
 * Networks as nf_tables holds them: ranges that do not overlap. ipset lets networks overlap, and of those that hold an address
 * the longest prefix decides, which may be an exception ("nomatch").
 */

/** The first and the last key of a range. */
export interface Range {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

export interface Network {
  /** The key with the network's address in its last `size` bytes; those before it must be equal. */
  readonly key: Uint8Array;
  /** Bits of the network's address. */
  readonly prefix: number;
  readonly nomatch: boolean;
}

interface Span {
  readonly head: Uint8Array;
  readonly from: bigint;
  readonly to: bigint;
  readonly nomatch: boolean;
}

/**
 * The ranges of keys that networks match, in order. A network that overlaps with none is one range.
 *
 * @param size bytes of the address at the end of a key
 */
export function rangesOf(networks: readonly Network[], size: number): readonly Range[] {
  const groups = new Map<string, Span[]>();
  for (const { key, prefix, nomatch } of networks) {
    const head = key.slice(0, key.length - size);
    const from = toNumber(key.subarray(key.length - size));
    const to = from | ((1n << BigInt(size * 8 - prefix)) - 1n);
    const name = head.toHex();
    const group = groups.get(name) ?? [];
    groups.set(name, group);
    group.push({ head, from, to, nomatch });
  }
  return [...groups].toSorted(([a], [b]) => a < b ? -1 : a > b ? 1 : 0)
    .flatMap(([, group]) => spansOf(group).map((span) => rangeOf(span, size)));
}

/** Networks lie in each other or apart: outer ones come first, those inside right behind. */
function spansOf(group: readonly Span[]): readonly Span[] {
  const sorted = group.toSorted((a, b) =>
    a.from !== b.from ? (a.from < b.from ? -1 : 1) : a.to > b.to ? -1 : a.to < b.to ? 1 : 0
  );
  const result: Span[] = [];
  for (let i = 0; i < sorted.length;) {
    const outer = sorted[i] as Span;
    if (outer.nomatch) {
      // Nothing to except from: what lies in it stands for itself.
      i++;
      continue;
    }
    let end = i + 1;
    while (end < sorted.length && (sorted[end] as Span).from <= outer.to) end++;
    result.push(...cut(outer, sorted.slice(i + 1, end)));
    i = end;
  }
  return result;
}

/** What is left of a network when those inside it have had their say. */
function cut(outer: Span, inside: readonly Span[]): readonly Span[] {
  if (inside.every(({ nomatch }) => !nomatch)) return [outer];
  const pieces: Span[] = [];
  const stack: Span[] = [outer];
  let at = outer.from;
  const emit = (until: bigint): void => {
    const top = stack.at(-1);
    if (top === undefined || until <= at) return;
    const last = pieces.at(-1);
    if (!top.nomatch) {
      if (last !== undefined && last.to + 1n === at) {
        pieces[pieces.length - 1] = { ...last, to: until - 1n };
      } else pieces.push({ ...outer, from: at, to: until - 1n });
    }
    at = until;
  };
  for (const span of inside) {
    while (stack.length > 1 && (stack.at(-1) as Span).to < span.from) {
      emit((stack.at(-1) as Span).to + 1n);
      stack.pop();
    }
    emit(span.from);
    stack.push(span);
  }
  while (stack.length > 0) {
    emit((stack.at(-1) as Span).to + 1n);
    stack.pop();
  }
  return pieces;
}

function rangeOf({ head, from, to }: Span, size: number): Range {
  const key = (number: bigint): Uint8Array => {
    const bytes = new Uint8Array(head.length + size);
    bytes.set(head);
    for (let i = bytes.length - 1, rest = number; i >= head.length; i--, rest >>= 8n) {
      bytes[i] = Number(rest & 0xffn);
    }
    return bytes;
  };
  return { from: key(from), to: key(to) };
}

function toNumber(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toHex()}`);
}

/** The key behind this one; undefined behind the last. */
export function following(key: Uint8Array): Uint8Array | undefined {
  const next = key.slice();
  for (let i = next.length - 1; i >= 0; i--) {
    next[i] = (next[i] ?? 0) + 1 & 0xff;
    if (next[i] !== 0) return next;
  }
  return undefined;
}

/** The key before this one; undefined before the first. */
export function preceding(key: Uint8Array): Uint8Array | undefined {
  const before = key.slice();
  for (let i = before.length - 1; i >= 0; i--) {
    before[i] = (before[i] ?? 0) - 1 & 0xff;
    if (before[i] !== 0xff) return before;
  }
  return undefined;
}

/** Equal ranges have equal texts. */
export function rangeText({ from, to }: Range): string {
  return `${from.toHex()}-${to.toHex()}`;
}
