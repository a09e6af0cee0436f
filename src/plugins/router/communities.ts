/** BGP communities (RFC 1997) as annotations write them. */

import { MAX_UINT32 } from "./numbers.ts";

/** IANA's registry of well-known communities, as far as kube-router names them. */
const WELL_KNOWN: Readonly<Record<string, number>> = {
  "internet": 0x0000_0000,
  "planned-shut": 0xffff_0000,
  "accept-own": 0xffff_0001,
  "route-filter-translated-v4": 0xffff_0002,
  "route-filter-v4": 0xffff_0003,
  "route-filter-translated-v6": 0xffff_0004,
  "route-filter-v6": 0xffff_0005,
  "llgr-stale": 0xffff_0006,
  "no-llgr": 0xffff_0007,
  "blackhole": 0xffff_029a,
  "no-export": 0xffff_ff01,
  "no-advertise": 0xffff_ff02,
  "no-export-subconfed": 0xffff_ff03,
  "no-peer": 0xffff_ff04,
};

export const COMMUNITY_NAMES: readonly string[] = Object.keys(WELL_KNOWN);

/** A community: a decimal number of 32 bits, "high:low" of 16 bits each, or a well-known name; else `undefined`. */
export function parseCommunity(text: string): number | undefined {
  if (Object.hasOwn(WELL_KNOWN, text)) return WELL_KNOWN[text];
  if (/^[0-9]{1,10}$/.test(text)) {
    const value = Number(text);
    return value <= MAX_UINT32 ? value : undefined;
  }
  const [, high, low] = /^([0-9]{1,5}):([0-9]{1,5})$/.exec(text) ?? [];
  if (high === undefined || low === undefined) return undefined;
  const parts = [Number(high), Number(low)] as const;
  return parts.every((part) => part <= 0xffff) ? parts[0] * 0x1_0000 + parts[1] : undefined;
}
