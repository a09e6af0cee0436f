/** What the peers of the benchmarks say and read; of their own, so that a mistake of the speaker's does not measure itself. */

export function message(type: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(19, 0xff);
  head.writeUInt16BE(19 + body.length, 16);
  head[18] = type;
  return Buffer.concat([head, body]);
}

/** With IPv4 unicast and an AS number of four octets. */
export function open(as: number, routerId: string, holdSeconds: number): Buffer {
  const capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, as >> 8, as & 255];
  return message(
    1,
    Buffer.from([
      ...[4, as >> 8, as & 255, holdSeconds >> 8, holdSeconds & 255],
      ...routerId.split(".").map(Number),
      ...[capabilities.length + 2, 2, capabilities.length, ...capabilities],
    ]),
  );
}

export const keepalive = message(4, Buffer.alloc(0));
export const endOfRib = message(2, Buffer.alloc(4));

export interface Counter {
  /** IPv4 prefixes that were announced so far; the same one again counts again. */
  prefixes: number;
  /** Messages but UPDATE since the session began. */
  others: number;
  take(chunk: Buffer): void;
}

/** Counts what comes. @param each is called with each prefix: its address and length */
export function counter(each?: (address: number, length: number) => void): Counter {
  let rest: Buffer = Buffer.alloc(0);
  const self: Counter = {
    prefixes: 0,
    others: 0,
    take(chunk) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      while (bytes.length - at >= 19) {
        const length = bytes.readUInt16BE(at + 16);
        if (bytes.length - at < length) break;
        if (bytes[at + 18] === 2) update(bytes, at + 19, at + length);
        else if (bytes[at + 18] === 3) {
          throw new Error(`NOTIFICATION ${bytes[at + 19]}/${bytes[at + 20]}`);
        } else self.others++;
        at += length;
      }
      rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
    },
  };
  const update = (bytes: Buffer, start: number, end: number): void => {
    const attributes = start + 2 + bytes.readUInt16BE(start);
    for (let at = attributes + 2 + bytes.readUInt16BE(attributes); at < end;) {
      const length = bytes[at] ?? 0;
      const octets = (length + 7) >> 3;
      self.prefixes++;
      if (each !== undefined) {
        let address = 0;
        for (let i = 1; i <= octets; i++) address += (bytes[at + i] ?? 0) * 2 ** (32 - 8 * i);
        each(address, length);
      }
      at += 1 + octets;
    }
  };
  return self;
}
