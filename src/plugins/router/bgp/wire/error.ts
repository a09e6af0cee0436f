/** What is wrong with a message, as the NOTIFICATION that answers it. */

import { hex } from "./bytes.ts";
import { CeaseCode, ErrorCode } from "./constants.ts";

const NONE = new Uint8Array(0);

/** The only error that decoders throw. */
export class BgpError extends Error {
  override readonly name = "BgpError";

  constructor(
    message: string,
    readonly code: number,
    readonly subcode: number,
    readonly data: Uint8Array = NONE,
  ) {
    super(message);
  }
}

const CODES: Readonly<Record<number, string>> = {
  [ErrorCode.MessageHeader]: "message header error",
  [ErrorCode.OpenMessage]: "OPEN message error",
  [ErrorCode.UpdateMessage]: "UPDATE message error",
  [ErrorCode.HoldTimerExpired]: "hold timer expired",
  [ErrorCode.FiniteStateMachine]: "finite state machine error",
  [ErrorCode.Cease]: "cease",
  [ErrorCode.RouteRefresh]: "ROUTE-REFRESH message error",
  [ErrorCode.SendHoldTimerExpired]: "send hold timer expired",
};

const SUBCODES: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  [ErrorCode.MessageHeader]: {
    1: "connection not synchronized",
    2: "bad message length",
    3: "bad message type",
  },
  [ErrorCode.OpenMessage]: {
    1: "unsupported version number",
    2: "bad peer AS",
    3: "bad BGP identifier",
    4: "unsupported optional parameter",
    6: "unacceptable hold time",
    7: "unsupported capability",
    11: "role mismatch",
  },
  [ErrorCode.UpdateMessage]: {
    1: "malformed attribute list",
    2: "unrecognized well-known attribute",
    3: "missing well-known attribute",
    4: "attribute flags error",
    5: "attribute length error",
    6: "invalid ORIGIN attribute",
    8: "invalid NEXT_HOP attribute",
    9: "optional attribute error",
    10: "invalid network field",
    11: "malformed AS_PATH",
  },
  [ErrorCode.FiniteStateMachine]: {
    1: "unexpected message in OpenSent",
    2: "unexpected message in OpenConfirm",
    3: "unexpected message in Established",
  },
  [ErrorCode.Cease]: {
    [CeaseCode.MaximumPrefixes]: "maximum number of prefixes reached",
    [CeaseCode.AdministrativeShutdown]: "administrative shutdown",
    [CeaseCode.PeerDeconfigured]: "peer de-configured",
    [CeaseCode.AdministrativeReset]: "administrative reset",
    [CeaseCode.ConnectionRejected]: "connection rejected",
    [CeaseCode.ConfigurationChange]: "other configuration change",
    [CeaseCode.CollisionResolution]: "connection collision resolution",
    [CeaseCode.OutOfResources]: "out of resources",
    [CeaseCode.HardReset]: "hard reset",
    [CeaseCode.BfdDown]: "BFD down",
  },
};

/** `6/2 (cease: administrative shutdown)`. */
export function errorName(code: number, subcode: number): string {
  const name = CODES[code] ?? "unknown";
  const detail = SUBCODES[code]?.[subcode];
  return `${code}/${subcode} (${detail === undefined ? name : `${name}: ${detail}`})`;
}

/**
 * The text of a shutdown communication (RFC 9003): one octet of length and UTF-8. Control characters are left out, since
 * a peer's text ends up in logs and on terminals; what is no UTF-8 is shown in hexadecimal.
 */
export function shutdownText(data: Uint8Array): string | undefined {
  const length = data[0];
  if (length === undefined || length === 0) return undefined;
  const bytes = data.subarray(1, 1 + length);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
      .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, " ");
  } catch {
    return hex(bytes);
  }
}

/**
 * Data of a shutdown communication. At most 128 octets although RFC 9003 allows 255, since speakers of RFC 8203 take no
 * more; cut between characters.
 */
export function shutdownData(text: string | undefined): Uint8Array {
  if (text === undefined || text === "") return NONE;
  let bytes = new TextEncoder().encode(text);
  if (bytes.length > 128) {
    let end = 128;
    while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
    bytes = bytes.slice(0, end);
  }
  const data = new Uint8Array(1 + bytes.length);
  data[0] = bytes.length;
  data.set(bytes, 1);
  return data;
}
