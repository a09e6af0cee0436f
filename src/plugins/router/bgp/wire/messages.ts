/** The small messages: KEEPALIVE, NOTIFICATION, ROUTE-REFRESH (RFC 2918, 7313). */

import type { Family } from "../../../../kernel/ip.ts";
import { copy, u16, u8 } from "./bytes.ts";
import { ErrorCode, MessageType, UNICAST } from "./constants.ts";
import { BgpError } from "./error.ts";
import { type Frame, frame } from "./framer.ts";

export const KEEPALIVE: Uint8Array = frame(MessageType.Keepalive, new Uint8Array(0));

export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

export function encodeNotification(
  { code, subcode, data }: Notification,
): Uint8Array {
  // RFC 4271 section 6: what was received is echoed only as far as the message has room.
  const room = data.subarray(0, 4096 - 21);
  const body = new Uint8Array(2 + room.length);
  body[0] = code;
  body[1] = subcode;
  body.set(room, 2);
  return frame(MessageType.Notification, body);
}

/** Never throws: an error in a NOTIFICATION is not answered. */
export function decodeNotification({ bytes, start, end }: Frame): Notification {
  return {
    code: u8(bytes, start),
    subcode: u8(bytes, start + 1),
    data: copy(bytes, start + 2, end),
  };
}

/** RFC 7313 section 3.2: a request, or the begin and the end of the answer. */
export const RefreshSubtype = { Request: 0, Begin: 1, End: 2 } as const;

export interface RouteRefresh {
  /** Absent: a family that we do not know, to be ignored. */
  readonly family: Family | undefined;
  readonly subtype: number;
}

export function encodeRefresh(family: Family, subtype: number): Uint8Array {
  return frame(
    MessageType.RouteRefresh,
    Uint8Array.of(0, family === 4 ? 1 : 2, subtype, UNICAST),
  );
}

/** @throws {BgpError} 7/1 for another length where the enhanced form is in use (RFC 7313 section 5) */
export function decodeRefresh({ bytes, start, end }: Frame, enhanced: boolean): RouteRefresh {
  const subtype = u8(bytes, start + 2);
  if (end - start !== 4) {
    // A longer one carries outbound route filters (RFC 5291), which we never offer.
    if (enhanced && subtype > 0) {
      throw new BgpError(
        `A ROUTE-REFRESH has ${end - start} octets`,
        ErrorCode.RouteRefresh,
        1,
        copy(bytes, start, end),
      );
    }
    return { family: undefined, subtype };
  }
  return { family: familyOf(u16(bytes, start), u8(bytes, start + 3)), subtype };
}

/** The family of an AFI and SAFI, if it is one of ours. */
export function familyOf(afi: number, safi: number): Family | undefined {
  if (safi !== UNICAST) return undefined;
  return afi === 1 ? 4 : afi === 2 ? 6 : undefined;
}
