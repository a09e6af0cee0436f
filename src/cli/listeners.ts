/** Whether a program of this network namespace listens on a port, as /proc tells. */

import { readFileSync } from "node:fs";

/** Hexadecimal state of /proc/net/tcp: TCP_LISTEN; an unconnected UDP socket has TCP_CLOSE (include/net/tcp_states.h). */
const WAITING = { tcp: "0A", udp: "07" } as const;

/** Undefined where it cannot be known: SCTP, or no /proc. */
export function listensOn(
  { address, port, protocol }: {
    readonly address: string;
    readonly port: number;
    readonly protocol: "tcp" | "udp" | "sctp";
  },
  read: (path: string) => string = (path) => readFileSync(path, "utf8"),
): boolean | undefined {
  if (protocol === "sctp") return undefined;
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  try {
    // A socket of IPv6 for all addresses takes IPv4 as well.
    return ["", "6"].some((family) =>
      read(`/proc/net/${protocol}${family}`).split("\n").slice(1).some((line) => {
        const [, local = "", , state] = line.trim().split(/\s+/);
        const [host = "", own] = local.split(":");
        return own === hexPort && state === WAITING[protocol] &&
          (/^0+$/.test(host) ? family === "6" || !address.includes(":") : host === hexOf(address));
      })
    );
  } catch {
    return undefined;
  }
}

/** An address as /proc/net prints it: words of 32 bits in the machine's order, which is little-endian on all that we run on. */
function hexOf(address: string): string {
  const bytes = address.includes(":") ? sixteen(address) : address.split(".").map(Number);
  let text = "";
  for (let word = 0; word < bytes.length; word += 4) {
    for (const byte of bytes.slice(word, word + 4).toReversed()) {
      text += byte.toString(16).toUpperCase().padStart(2, "0");
    }
  }
  return text;
}

function sixteen(address: string): readonly number[] {
  const [head = "", tail] = address.split("::");
  const groups = (text: string) => text === "" ? [] : text.split(":");
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].flatMap((group) => {
    const number = parseInt(group, 16);
    return [number >> 8, number & 0xff];
  });
}
