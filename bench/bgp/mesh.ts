/**
 * COUNT internal peers in one process: `mesh.ts ADDRESS COUNT HOLD`. Each dials from an address of its own, 10.99.x.y, and
 * announces its own /32. It writes `{ "up": ms }` when all sessions stand and `{ "all": ms }` when each peer has the routes of all
 * others, both since the first dial; then keepalives go on.
 */
import { connect, type Socket } from "node:net";
import { counter, endOfRib, keepalive, message, open } from "./wire.ts";

const [address = "", count = "", hold = ""] = process.argv.slice(2);
const COUNT = Number(count);
const AS = 65000;
/** Between two dials: BIRD's listener has room for eight. */
const STAGGER_MS = 4;

function clientAddress(i: number): string {
  return `10.99.${1 + (i >> 7)}.${1 + (i & 127)}`;
}

function announcement(i: number, from: string): Buffer {
  const attributes = Buffer.from([
    ...[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, ...from.split(".").map(Number)],
    ...[0x40, 5, 4, 0, 0, 0, 100],
  ]);
  const prefix = Buffer.from([32, 10, 200, i >> 8, i & 255]);
  const length = Buffer.from([0, 0, attributes.length >> 8, attributes.length & 255]);
  return message(2, Buffer.concat([length, attributes, prefix]));
}

const start = performance.now();
const sockets: Socket[] = [];
let up = 0;
let full = 0;

function tell(name: string): void {
  process.stdout.write(`${JSON.stringify({ [name]: performance.now() - start })}\n`);
}

function client(i: number): void {
  const from = clientAddress(i);
  const socket = connect({ host: address, port: 179, localAddress: from, noDelay: true });
  const has = new Uint8Array(COUNT);
  let others = COUNT - 1;
  const read = counter((prefix, length) => {
    const of = prefix & 0xffff;
    if (length !== 32 || prefix >>> 16 !== 10 * 256 + 200 || of === i || has[of] !== 0) return;
    has[of] = 1;
    if (--others === 0 && ++full === COUNT) tell("all");
  });
  let told = false;
  socket.on("error", (error) => {
    console.error(`${from}: ${error.message}`);
    process.exit(1);
  });
  socket.on("close", () => {
    console.error(`${from}: closed`);
    process.exit(1);
  });
  socket.on("connect", () => socket.write(open(AS, from, Number(hold))));
  socket.on("data", (chunk: Buffer) => {
    read.take(chunk);
    // An OPEN, then a KEEPALIVE.
    if (told || read.others < 1) return;
    told = true;
    sockets.push(socket);
    socket.write(Buffer.concat([keepalive, announcement(i, from), endOfRib]));
    if (++up === COUNT) tell("up");
  });
}

for (let i = 0; i < COUNT; i++) setTimeout(client, i * STAGGER_MS, i);
let turn = 0;
const PARTS = 10;
setInterval(() => {
  const part = turn++ % PARTS;
  sockets.forEach((socket, i) => i % PARTS === part && socket.write(keepalive));
}, 1000 * Number(hold) / 3 / PARTS);
