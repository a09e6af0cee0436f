/**
 * A peer that takes all and counts: `sink.ts ADDRESS FROM AS COUNT`. It waits for a line, dials from FROM, and writes
 * `{ "ms": … }` when COUNT prefixes have come, with the time since the session stood.
 */
import { connect } from "node:net";
import { counter, keepalive, open } from "./wire.ts";

const [address = "", from = "", as = "", count = ""] = process.argv.slice(2);

process.stdin.once("data", () => {
  const socket = connect({ host: address, port: 179, localAddress: from, noDelay: true });
  const read = counter();
  let up = 0;
  socket.on("error", (error) => {
    console.error(error.message);
    process.exit(1);
  });
  socket.on("connect", () => socket.write(Buffer.concat([open(Number(as), from, 240), keepalive])));
  socket.on("data", (chunk: Buffer) => {
    if (up === 0) up = performance.now();
    read.take(chunk);
    if (read.prefixes < Number(count)) return;
    process.stdout.write(`${JSON.stringify({ ms: performance.now() - up })}\n`);
    read.prefixes = Number.NEGATIVE_INFINITY;
  });
  setInterval(() => socket.write(keepalive), 30_000);
});
process.stdout.write("ready\n");
