/**
 * Firewall marks that stand for an address and port, of direct server return and of clients inside. A mark is computed from the address, protocol and port that it stands for, so
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

/** The mark that a key takes at its nth try; 0 is none to Linux. */
export function markAt(key: string, n: number): number {
  return fnv1a32(n === 0 ? key : `${key}-${n}`) & MASK;
}

/**
 * Marks and who has them. A key has the mark of its hash, and where another has that, the one of "key-1", "key-2" and so on.
 * Whoever has a mark keeps it as long as it is wanted, also where an older Service comes to want it: connections carry it.
 */
export class Marks {
  readonly #marks = new Map<string, { readonly mark: number; holders: number }>();
  /** 0 is no mark to Linux. */
  readonly #taken = new Set<number>([0]);

  /** One holder more of a key; its mark, undefined where none is left. Each that got one gives it back with `release`. */
  take(key: string): number | undefined {
    const known = this.#marks.get(key);
    if (known !== undefined) {
      known.holders++;
      return known.mark;
    }
    if (this.#taken.size > MASK) return undefined;
    let mark = markAt(key, 0);
    for (let n = 1; this.#taken.has(mark); n++) {
      if (n > 16 * MASK) return undefined;
      mark = markAt(key, n);
    }
    this.#taken.add(mark);
    this.#marks.set(key, { mark, holders: 1 });
    return mark;
  }

  release(key: string): void {
    const known = this.#marks.get(key);
    if (known === undefined || --known.holders > 0) return;
    this.#marks.delete(key);
    this.#taken.delete(known.mark);
  }

  get(key: string): number | undefined {
    return this.#marks.get(key)?.mark;
  }
}
