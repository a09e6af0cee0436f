/**
 * UPDATEs of IPv6 prefixes at a glance (RFC 4760, RFC 2545): where the one multiprotocol attribute lies, and the others as
 * `UpdateDecoder` keeps them, without making an object.
 */

import { u16 } from "./bytes.ts";
import { AttributeFlag, AttributeType, UNICAST } from "./constants.ts";

const AFI_IPV6 = 2;
const OPTIONAL = AttributeFlag.Optional;
const BOTH = OPTIONAL | AttributeFlag.Transitive;

export const Multiprotocol = {
  /** Not for `split6`. */
  Odd: 0,
  /** MP_REACH_NLRI and the attributes of its prefixes. */
  Reach: 1,
  /** MP_UNREACH_NLRI alone. */
  Unreach: 2,
} as const;

/** What `split6` found last; used again by each message. */
export class Split {
  /** Where the prefixes begin and end, in the message. */
  start = 0;
  end = 0;
  /** All attributes but MP_REACH_NLRI, and behind them its next hop. */
  block = new Uint8Array(4096);
  /** Octets of the block, and of the next hop at its end. */
  length = 0;
  hop = 0;
}

/** Looks at the attributes of a message without IPv4 prefixes, from `from` up to `last`. One of `Multiprotocol`. */
export function split6(bytes: Uint8Array, from: number, last: number, into: Split): number {
  let reach = -1;
  let length = 0;
  if (into.block.length < last - from) into.block = new Uint8Array(2 * (last - from));
  const { block } = into;
  for (let at = from; at < last;) {
    if (last - at < 3) return Multiprotocol.Odd;
    const flags = bytes[at] ?? 0;
    const type = bytes[at + 1] ?? 0;
    const long = (flags & AttributeFlag.ExtendedLength) !== 0;
    if (long && last - at < 4) return Multiprotocol.Odd;
    const value = at + (long ? 4 : 3);
    const end = value + (long ? u16(bytes, at + 2) : bytes[at + 2] ?? 0);
    if (end > last) return Multiprotocol.Odd;
    if (type === AttributeType.MpReachNlri || type === AttributeType.MpUnreachNlri) {
      if ((flags & BOTH) !== OPTIONAL || reach >= 0 || end - value < 3) return Multiprotocol.Odd;
      if (u16(bytes, value) !== AFI_IPV6 || bytes[value + 2] !== UNICAST) return Multiprotocol.Odd;
      into.end = end;
      if (type === AttributeType.MpUnreachNlri) {
        into.start = value + 3;
        const alone = at === from && end === last && into.start < end;
        return alone ? Multiprotocol.Unreach : Multiprotocol.Odd;
      }
      reach = value;
    } else for (let i = at; i < end; i++) block[length++] = bytes[i] ?? 0;
    at = end;
  }
  if (reach < 0 || into.end - reach < 5) return Multiprotocol.Odd;
  const hop = bytes[reach + 3] ?? 0;
  // The octet behind the next hop is reserved.
  into.start = reach + 4 + hop + 1;
  if ((hop !== 16 && hop !== 32) || into.start >= into.end) return Multiprotocol.Odd;
  for (let i = 0; i < hop; i++) block[length++] = bytes[reach + 4 + i] ?? 0;
  into.length = length;
  into.hop = hop;
  return Multiprotocol.Reach;
}
