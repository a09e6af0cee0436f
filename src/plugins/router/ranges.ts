/** Service ranges that are announced as one route each (`--advertise-service-ranges`): which they are, and what is left out. */

import { type Cidr, contains, formatIp, parseCidr } from "../../kernel/ip.ts";
import type { RouterOptions } from "./options.ts";

/** The ranges whose addresses are announced by default, each once. A range of one address is no range. */
export function announcedRanges(
  options: Pick<
    RouterOptions,
    | "advertiseServiceRanges"
    | "advertiseClusterIp"
    | "advertiseExternalIp"
    | "advertiseLoadbalancerIp"
    | "serviceClusterIpRange"
    | "serviceExternalIpRange"
    | "loadbalancerIpRange"
  >,
): readonly Cidr[] {
  if (!options.advertiseServiceRanges) return [];
  const texts = [
    ...(options.advertiseClusterIp ? options.serviceClusterIpRange : []),
    ...(options.advertiseExternalIp ? options.serviceExternalIpRange : []),
    ...(options.advertiseLoadbalancerIp ? options.loadbalancerIpRange : []),
  ];
  return [...new Set(texts)].flatMap((text) => parseCidr(text) ?? []).filter((cidr) =>
    !isHost(cidr)
  );
}

function isHost({ prefix, bytes }: Cidr): boolean {
  return prefix === bytes.length * 8;
}

/**
 * The largest networks that hold all of a range but these addresses. Networks of one address are left out as well: such an
 * address is announced singly where it is to be, so that it never stands for what only other nodes may announce.
 */
export function rangeWithout(range: Cidr, addresses: readonly string[]): readonly Cidr[] {
  if (isHost(range)) return [];
  const inside = addresses.filter((address) => contains(range, address));
  if (inside.length === 0) return [range];
  return halves(range).flatMap((half) => rangeWithout(half, inside));
}

function halves(range: Cidr): readonly Cidr[] {
  const prefix = range.prefix + 1;
  const upper = range.bytes.slice();
  const at = range.prefix >> 3;
  upper[at] = (upper[at] ?? 0) | (0x80 >> (range.prefix & 7));
  return [`${range.address}/${prefix}`, `${formatIp(upper)}/${prefix}`].flatMap((text) =>
    parseCidr(text) ?? []
  );
}
