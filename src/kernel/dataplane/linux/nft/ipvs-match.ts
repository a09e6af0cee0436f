/**
 * xt_ipvs, the match for packets that IPVS has taken, as `struct xt_ipvs_mtinfo`. nf_tables has no expression that knows IPVS, and
 * conntrack does not tell its translation from others': the bit for it (IPS_DST_NAT) is not set, and no expression of older
 * versions of Linux compares one address of a connection with another. So the module of xtables is asked, by nft_compat.
 */

import type { Family } from "../../resource.ts";
import type { Match } from "../../resources/filter.ts";
import { writeAddress } from "../inet.ts";

const PROPERTY = 1 << 0;
const VADDR = 1 << 2;
const VPORT = 1 << 3;
const DIRECTION = 1 << 4;
const METHOD = 1 << 5;
/** IP_VS_CONN_F_*. */
const METHODS = { masq: 0, tunnel: 2, route: 3 } as const;
/** Bytes of the struct: two addresses, vport, protocol, method, vportctl, invert, bitmask. */
const SIZE = 40;

export function ipvsInfo(
  family: Family,
  match: Extract<Match, { readonly kind: "ipvs" }>,
): Uint8Array {
  const info = new Uint8Array(SIZE);
  let bits = 0;
  if (match.vaddr !== undefined) {
    bits |= VADDR;
    writeAddress(info, 0, match.vaddr);
    info.fill(0xff, 16, 16 + (family === 4 ? 4 : 16));
  }
  if (match.vport !== undefined) {
    bits |= VPORT;
    new DataView(info.buffer).setUint16(32, match.vport, false);
  }
  if (match.method !== undefined) {
    bits |= METHOD;
    info[35] = METHODS[match.method];
  }
  if (match.direction !== undefined) {
    bits |= DIRECTION;
    if (match.direction === "reply") info[38] = DIRECTION;
  }
  // Alone it asks whether IPVS has the packet at all; with others, these imply it.
  info[39] = bits === 0 ? PROPERTY : bits;
  return info;
}
