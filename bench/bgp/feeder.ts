/**
 * A peer that dials, announces COUNT prefixes as fast as the other end reads, and stays: `feeder.ts ADDRESS COUNT [FAMILY]`. It
 * writes "up" when the session stands, waits for a line, then sends, and writes "sent" when the last byte has left.
 *
 * The stream is made before: five prefixes a message, one set of attributes in eight new, paths of three to eight, as on the
 * internet. It has an encoder of its own, so that a mistake of ours does not measure itself.
 */
import { connect } from "node:net";

const [address = "", text = "", family = "4"] = process.argv.slice(2);
const COUNT = Number(text);
const V6 = family === "6";
/** fd00:1::1, and a link-local address beside it. */
const HOPS6 = [
  ...[0xfd, 0, 0, 1, ...Array<number>(11).fill(0), 1],
  ...[0xfe, 0x80, ...Array<number>(13).fill(0), 1],
];
const AS = 65001;

/** Repeats. */
let seed = 1;
function below(limit: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor(seed / 2 ** 32 * limit);
}

function message(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(19, 0xff);
  head.writeUInt16BE(19 + body.length, 16);
  head[18] = type;
  return Buffer.concat([head, body]);
}

function attributes(nextHop: string): Buffer {
  const path = [AS, ...Array.from({ length: 2 + below(6) }, () => 1 + below(400_000))];
  const asPath = Buffer.alloc(5 + 4 * path.length);
  asPath.set([0x40, 2, 2 + 4 * path.length, 2, path.length]);
  path.forEach((as, i) => asPath.writeUInt32BE(as, 5 + 4 * i));
  const communities = Array.from({ length: below(3) * 2 }, () => below(2 ** 32 - 2 ** 17) + 65536);
  const list = Buffer.alloc(communities.length === 0 ? 0 : 3 + 4 * communities.length);
  if (communities.length > 0) {
    list.set([0xc0, 8, 4 * communities.length]);
    communities.forEach((value, i) => list.writeUInt32BE(value, 3 + 4 * i));
  }
  return Buffer.concat([
    Buffer.from([0x40, 1, 1, 0]),
    asPath,
    ...(V6 ? [] : [Buffer.from([0x40, 3, 4, ...nextHop.split(".").map(Number)])]),
    list,
  ]);
}

/** /48s of 2000::/8 from 2001:: on, in MP_REACH_NLRI. */
function body6(set: Buffer, first: number, some: number): Buffer {
  const prefixes = Array.from({ length: some }, (_, j) => {
    const prefix = first + j;
    return [48, 0x20, 1, prefix >>> 24, (prefix >>> 16) & 255, (prefix >>> 8) & 255, prefix & 255];
  }).flat();
  const value = Buffer.from([0, 2, 1, HOPS6.length, ...HOPS6, 0, ...prefixes]);
  const reach = Buffer.concat([Buffer.from([0x80, 14, value.length]), value]);
  const head = Buffer.alloc(4);
  head.writeUInt16BE(reach.length + set.length, 2);
  return Buffer.concat([head, reach, set]);
}

function stream(nextHop: string): Buffer {
  const sets: Buffer[] = [];
  const messages: Buffer[] = [];
  for (let i = 0; i < COUNT; i += 5) {
    if (sets.length === 0 || below(100) < 64) sets.push(attributes(nextHop));
    const set = sets[sets.length - 1 - below(Math.min(sets.length, 20))] ?? Buffer.alloc(0);
    const some = Math.min(5, COUNT - i);
    if (V6) {
      messages.push(message(2, body6(set, i, some)));
      continue;
    }
    const body = Buffer.alloc(4 + set.length + 4 * some);
    body.writeUInt16BE(set.length, 2);
    body.set(set, 4);
    // /24s from 1.0.0.0 on, around what is not for use.
    for (let j = 0; j < some; j++) {
      const prefix = (1 << 16) + i + j;
      const at = 4 + set.length + 4 * j;
      const first = prefix >>> 16;
      body.set([24, first >= 10 ? first + 1 : first, (prefix >>> 8) & 255, prefix & 255], at);
    }
    messages.push(message(2, body));
  }
  return Buffer.concat([...messages, message(2, Buffer.alloc(4))]);
}

const socket = connect({ host: address, port: 179, localAddress: "198.18.1.1", noDelay: true });
socket.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
const capabilities = Buffer.from([1, 4, 0, V6 ? 2 : 1, 0, 1, 65, 4, 0, 0, AS >> 8, AS & 255]);
socket.on("connect", () => {
  socket.write(message(
    1,
    Buffer.from([
      ...[4, AS >> 8, AS & 255, 0, 240, 10, 255, 0, 1],
      ...[capabilities.length + 2, 2, capabilities.length],
      ...capabilities,
    ]),
  ));
  socket.write(message(4, Buffer.alloc(0)));
});
let established = false;
let seen = 0;
socket.on("data", (chunk: Buffer) => {
  seen += chunk.length;
  // An OPEN and a KEEPALIVE.
  if (established || seen < 29 + 19) return;
  established = true;
  const bytes = stream(socket.localAddress ?? "");
  process.stdout.write("up\n");
  process.stdin.once("data", () => {
    socket.write(bytes, () => process.stdout.write("sent\n"));
    setInterval(() => socket.write(message(4, Buffer.alloc(0))), 30_000);
  });
});
