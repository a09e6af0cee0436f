/** With `ROUTELET_NETLINK_TRACE` set in the environment every netlink datagram goes to standard error as hex. */

const enabled = (process.env["ROUTELET_NETLINK_TRACE"] ?? "") !== "";

/** Prints a datagram, 16 bytes a line; free when tracing is off. */
export function traceDatagram(
  direction: "send" | "receive",
  fd: number,
  bytes: Uint8Array,
  length: number,
): void {
  if (enabled) {
    process.stderr.write(
      `netlink ${direction} fd ${fd}, ${length} bytes\n${hexDump(bytes, length)}`,
    );
  }
}

/** Offset and 16 bytes of hex a line. */
export function hexDump(bytes: Uint8Array, length: number = bytes.length): string {
  let text = "";
  for (let at = 0; at < length; at += 16) {
    const row = [...bytes.subarray(at, Math.min(at + 16, length))];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    text += `${at.toString(16).padStart(4, "0")}  ${hex}\n`;
  }
  return text;
}
