/** OPEN (RFC 4271 section 4.2), capabilities (RFC 5492) and extended optional parameters (RFC 9072). */

import type { Family } from "../../../../kernel/ip.ts";
import { u16, u32, u8, Writer } from "./bytes.ts";
import { AS_TRANS, CapabilityCode, ErrorCode, MessageType, UNICAST } from "./constants.ts";
import { BgpError } from "./error.ts";
import { type Frame, frame } from "./framer.ts";
import { familyOf } from "./messages.ts";

export interface Open {
  /** Of four octets where the capability says so. */
  readonly asn: number;
  readonly holdSeconds: number;
  /** As an unsigned number of 32 bits. */
  readonly routerId: number;
  readonly capabilities: Capabilities;
}

/** What both sides' OPENs say about the extensions that we know. */
export interface Capabilities {
  /** Absent: no multiprotocol capability, which means IPv4 unicast (RFC 4760 section 8). */
  readonly families: readonly Family[] | undefined;
  readonly routeRefresh: boolean;
  readonly enhancedRefresh: boolean;
  readonly fourOctetAs: boolean;
  readonly extendedMessage: boolean;
  /** IPv4 prefixes may have an IPv6 next hop (RFC 8950). */
  readonly extendedNextHop: boolean;
  readonly gracefulRestart: GracefulRestart | undefined;
  readonly hostname: string | undefined;
  /** Codes of all that were offered, in order, unknown ones included. */
  readonly codes: readonly number[];
}

/** RFC 4724 section 3 and RFC 8538 section 2. */
export interface GracefulRestart {
  /** The R bit: the sender has just restarted. */
  readonly restarting: boolean;
  /** The N bit: a NOTIFICATION does not end forwarding either. */
  readonly notification: boolean;
  readonly seconds: number;
  /** The families, and whether the F bit says that forwarding state was preserved. */
  readonly families: readonly { readonly family: Family; readonly forwarding: boolean }[];
}

const VERSION = 4;
const CAPABILITIES = 2;
const EXTENDED = 255;

export function encodeOpen(open: Open): Uint8Array {
  const list = encodeCapabilities(open);
  const out = new Writer();
  out.u8(VERSION).u16(open.asn > 65535 ? AS_TRANS : open.asn).u16(open.holdSeconds)
    .u32(open.routerId);
  // One parameter with all capabilities: that is what every speaker understands.
  if (list.length + 2 <= 255 && list.length <= 255) {
    if (list.length === 0) out.u8(0);
    else out.u8(list.length + 2).u8(CAPABILITIES).u8(list.length).put(list);
  } else {
    out.u8(EXTENDED).u8(EXTENDED).u16(list.length + 3).u8(CAPABILITIES).u16(list.length).put(list);
  }
  return frame(MessageType.Open, out.take());
}

function encodeCapabilities({ asn, capabilities }: Open): Uint8Array {
  const out = new Writer();
  for (const family of capabilities.families ?? []) {
    out.u8(CapabilityCode.Multiprotocol).u8(4).u16(family === 4 ? 1 : 2).u8(0).u8(UNICAST);
  }
  if (capabilities.routeRefresh) out.u8(CapabilityCode.RouteRefresh).u8(0);
  if (capabilities.extendedNextHop) {
    out.u8(CapabilityCode.ExtendedNextHop).u8(6).u16(1).u16(UNICAST).u16(2);
  }
  if (capabilities.extendedMessage) out.u8(CapabilityCode.ExtendedMessage).u8(0);
  const restart = capabilities.gracefulRestart;
  if (restart !== undefined) {
    out.u8(CapabilityCode.GracefulRestart).u8(2 + 4 * restart.families.length);
    out.u16(
      (restart.restarting ? 0x8000 : 0) | (restart.notification ? 0x4000 : 0) |
        (restart.seconds & 0xfff),
    );
    for (const { family, forwarding } of restart.families) {
      out.u16(family === 4 ? 1 : 2).u8(UNICAST).u8(forwarding ? 0x80 : 0);
    }
  }
  if (capabilities.fourOctetAs) out.u8(CapabilityCode.FourOctetAs).u8(4).u32(asn);
  if (capabilities.enhancedRefresh) out.u8(CapabilityCode.EnhancedRouteRefresh).u8(0);
  if (capabilities.hostname !== undefined) {
    const name = new TextEncoder().encode(capabilities.hostname).subarray(0, 64);
    out.u8(CapabilityCode.Fqdn).u8(name.length + 2).u8(name.length).put(name).u8(0);
  }
  return out.take();
}

/**
 * Reads an OPEN. Whether its AS, identifier and hold time suit us is the session's to say.
 *
 * @throws {BgpError} 2/x
 */
export function decodeOpen({ bytes, start, end }: Frame): Open {
  const version = u8(bytes, start);
  if (version !== VERSION) {
    throw new BgpError(
      `The peer speaks BGP version ${version}`,
      ErrorCode.OpenMessage,
      1,
      Uint8Array.of(0, VERSION),
    );
  }
  const found = new Found();
  const length = u8(bytes, start + 9);
  const extended = length !== 0 && end - start >= 13 && u8(bytes, start + 10) === EXTENDED;
  const first = extended ? start + 13 : start + 10;
  const size = extended ? u16(bytes, start + 11) : length;
  if (first + size !== end) throw malformed("The length of the optional parameters is wrong");
  for (let at = first; at < end;) {
    const head = extended ? 3 : 2;
    if (end - at < head) throw malformed("An optional parameter is cut off");
    const type = u8(bytes, at);
    const size = extended ? u16(bytes, at + 1) : u8(bytes, at + 1);
    at += head;
    if (end - at < size) throw malformed("An optional parameter is cut off");
    if (type !== CAPABILITIES) {
      throw new BgpError(
        `Optional parameter ${type} is unknown`,
        ErrorCode.OpenMessage,
        4,
      );
    }
    readCapabilities(bytes, at, at + size, found);
    at += size;
  }
  return {
    asn: found.asn ?? u16(bytes, start + 1),
    holdSeconds: u16(bytes, start + 3),
    routerId: u32(bytes, start + 5),
    capabilities: {
      families: found.families,
      routeRefresh: found.codes.includes(CapabilityCode.RouteRefresh) ||
        found.codes.includes(CapabilityCode.RouteRefreshOld),
      enhancedRefresh: found.codes.includes(CapabilityCode.EnhancedRouteRefresh),
      fourOctetAs: found.asn !== undefined,
      extendedMessage: found.codes.includes(CapabilityCode.ExtendedMessage),
      extendedNextHop: found.extendedNextHop,
      gracefulRestart: found.gracefulRestart,
      hostname: found.hostname,
      codes: found.codes,
    },
  };
}

class Found {
  readonly codes: number[] = [];
  asn: number | undefined;
  families: Family[] | undefined;
  extendedNextHop = false;
  gracefulRestart: GracefulRestart | undefined;
  hostname: string | undefined;
}

function readCapabilities(bytes: Uint8Array, start: number, end: number, found: Found): void {
  for (let at = start; at < end;) {
    if (end - at < 2) throw malformed("A capability is cut off");
    const code = u8(bytes, at);
    const length = u8(bytes, at + 1);
    at += 2;
    if (end - at < length) throw malformed(`Capability ${code} is cut off`);
    readCapability(code, bytes.subarray(at, at + length), found);
    at += length;
  }
}

/** A capability of a wrong length is as if it was not offered (RFC 5492 section 5 has no error for it). */
function readCapability(code: number, value: Uint8Array, found: Found): void {
  switch (code) {
    case CapabilityCode.Multiprotocol: {
      if (value.length !== 4) return;
      found.families ??= [];
      const family = familyOf(u16(value, 0), u8(value, 3));
      if (family !== undefined && !found.families.includes(family)) found.families.push(family);
      break;
    }
    case CapabilityCode.ExtendedNextHop:
      for (let at = 0; at + 6 <= value.length; at += 6) {
        if (u16(value, at) === 1 && u16(value, at + 2) === UNICAST && u16(value, at + 4) === 2) {
          found.extendedNextHop = true;
        }
      }
      break;
    case CapabilityCode.FourOctetAs:
      if (value.length !== 4) return;
      found.asn = u32(value, 0);
      break;
    case CapabilityCode.GracefulRestart:
      if (value.length < 2) return;
      found.gracefulRestart = readRestart(value);
      break;
    case CapabilityCode.Fqdn:
      found.hostname = new TextDecoder().decode(value.subarray(1, 1 + u8(value, 0)));
      break;
  }
  if (!found.codes.includes(code)) found.codes.push(code);
}

function readRestart(value: Uint8Array): GracefulRestart {
  const families: { family: Family; forwarding: boolean }[] = [];
  for (let at = 2; at + 4 <= value.length; at += 4) {
    const family = familyOf(u16(value, at), u8(value, at + 2));
    if (family === undefined || families.some((known) => known.family === family)) continue;
    families.push({ family, forwarding: (u8(value, at + 3) & 0x80) !== 0 });
  }
  const head = u16(value, 0);
  return {
    restarting: (head & 0x8000) !== 0,
    notification: (head & 0x4000) !== 0,
    seconds: head & 0xfff,
    families,
  };
}

function malformed(message: string): BgpError {
  return new BgpError(message, ErrorCode.OpenMessage, 0);
}
