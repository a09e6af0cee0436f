/**
 * A router that has COUNT VIPs and takes one after the other away: `vips.ts ADDRESS FROM COUNT HOLD`. It announces them once the
 * session stands, and withdraws the next for each line; it then writes `{ "prefix": …, "at": ms }`, by the clock of all processes.
 * At its end it writes the longest silence of the other end, in ms: `{ "gap": … }` for the line "gap", which begins a new one.
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { counter, endOfRib, keepalive, message, open } from "./wire.ts";

const [address = "", from = "", count = "", hold = ""] = process.argv.slice(2);
const COUNT = Number(count);
const AS = 65001;

function octets(i: number): readonly number[] {
  return [10, 201, i >> 8, i & 255];
}

function announce(): Buffer {
  const path = [2, 1, 0, 0, AS >> 8, AS & 255];
  const attributes = Buffer.from([
    ...[0x40, 1, 1, 0, 0x40, 2, path.length, ...path],
    ...[0x40, 3, 4, ...from.split(".").map(Number)],
  ]);
  const prefixes = Array.from({ length: COUNT }, (_, i) => [32, ...octets(i)]).flat();
  return message(
    2,
    Buffer.concat([
      Buffer.from([0, 0, 0, attributes.length]),
      attributes,
      Buffer.from(prefixes),
    ]),
  );
}

function withdraw(i: number): Buffer {
  return message(2, Buffer.from([0, 5, 32, ...octets(i), 0, 0]));
}

const now = (): number => performance.timeOrigin + performance.now();
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const read = counter();
let up = false;
let last = 0;
let gap = 0;
let next = 0;

/** Until the daemon takes it: an agent is told of its peers later than it listens. */
function dial(): void {
  const socket = connect({ host: address, port: 179, localAddress: from, noDelay: true });
  read.others = 0;
  socket.on("error", () => {});
  socket.on("close", () => {
    if (up) {
      console.error("the session ended");
      process.exit(1);
    }
    setTimeout(dial, 200);
  });
  socket.on("connect", () => socket.write(open(AS, from, Number(hold))));
  socket.on("data", (chunk: Buffer) => {
    gap = Math.max(gap, now() - last);
    last = now();
    read.take(chunk);
    if (up || read.others < 1) return;
    up = true;
    last = now();
    gap = 0;
    socket.write(Buffer.concat([keepalive, announce(), endOfRib]));
    setInterval(() => socket.write(keepalive), 1000 * Number(hold) / 3);
    createInterface({ input: process.stdin }).on("line", (line) => {
      if (line === "gap") {
        say({ gap });
        gap = 0;
        return;
      }
      const i = next++;
      socket.write(withdraw(i));
      say({ prefix: octets(i).join("."), at: now() });
    });
    say({ up: true });
  });
}
dial();
