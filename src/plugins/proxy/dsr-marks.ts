/**
 * Firewall marks of direct server return. A mark is computed from the address, protocol and port that it stands for, so
 * that a restarted agent finds its IPVS services, rules and chains again without a memory of its own.
 */

/** Marks are 1 to 0x3FFF: kube-proxy and others use the bits above. */
const MASK = 0x3fff;

/** What a mark stands for, as kube-router writes it: "203.0.113.10-tcp-80". */
export interface Marked {
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
}

export function markKey({ address, protocol, port }: Marked): string {
  return `${address}-${protocol}-${port}`;
}

/** FNV-1a, 32 bits, of the text in UTF-8. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}

/**
 * The mark of each key, in the order of the keys: of two with one hash the first has it, and the second takes that of
 * "key-1", "key-2" and so on. 0 is no mark to Linux and is passed over. Keys for which none is left get none.
 */
export function assignMarks(keys: Iterable<string>): ReadonlyMap<string, number> {
  const marks = new Map<string, number>();
  const taken = new Set<number>([0]);
  for (const key of keys) {
    if (marks.has(key) || taken.size > MASK) continue;
    let mark = fnv1a32(key) & MASK;
    for (let n = 1; taken.has(mark) && n <= 16 * MASK; n++) mark = fnv1a32(`${key}-${n}`) & MASK;
    if (taken.has(mark)) continue;
    taken.add(mark);
    marks.set(key, mark);
  }
  return marks;
}
