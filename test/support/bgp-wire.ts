/** Bytes of BGP by hand. */

import { BgpError } from "../../src/plugins/router/bgp/wire/error.ts";
import { type Frame, frame, Framer } from "../../src/plugins/router/bgp/wire/framer.ts";

/** Hexadecimal with any spaces. */
export function bytes(hex: string): Uint8Array {
  const digits = hex.replaceAll(/\s/g, "");
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** The frame of a whole message, or of a body of this type. */
export function frameOf(message: Uint8Array, type?: number): Frame {
  const framer = new Framer();
  framer.limit = 65535;
  const [first] = framer.feed(type === undefined ? message : frame(type, message));
  if (first === undefined) throw new Error("There is no whole message");
  return first;
}

/** The BgpError that the function throws. */
export function bgpError(run: () => unknown): BgpError {
  try {
    run();
  } catch (error) {
    if (error instanceof BgpError) return error;
    throw error;
  }
  throw new Error("It threw nothing");
}

const hex16 = (value: number) => value.toString(16).padStart(4, "0");

/** Body of an UPDATE. */
export function updateBody(attributes: string, nlri = "", withdrawn = ""): Uint8Array {
  const size = (part: string) => hex16(bytes(part).length);
  return bytes(`${size(withdrawn)}${withdrawn}${size(attributes)}${attributes}${nlri}`);
}
