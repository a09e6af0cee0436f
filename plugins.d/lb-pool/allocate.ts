/**
 * Who gets which address: the whole state in, a decision for each Service out. Pure, and the same for every order of Services.
 *
 * What holds:
 * - No address is given to two Services that may not share it.
 * - An address that is in the status of any Service, or may be on its way there, is given to no other: first the one status
 *   loses it, then the other gets it.
 * - A Service keeps what it has for as long as it may have it, whatever is free elsewhere.
 * - With nothing changed but the statuses that were decided, the next decisions are the same.
 */

import type { Claim } from "./claims.ts";
import { addressText, type Family, parseAddress, type Range, rangeOf } from "./pool.ts";

export interface World {
  readonly ranges: readonly Range[];
  readonly claims: readonly Claim[];
  /** Addresses of Services that are not ours, and external IPs, with the words for who has them. */
  readonly others: ReadonlyMap<string, string>;
  /** Addresses that were written for a Service, by its key, and of which no answer came yet. */
  readonly reserved: ReadonlyMap<string, readonly string[]>;
}

export interface Decision {
  /** Addresses of the pool that the Service's status should have. */
  readonly addresses: readonly string[];
  /** Why it has less than it asks for, with the remedy. */
  readonly problem?: string;
}

/** A decision for each claim, by its key. */
export function allocate(world: World): ReadonlyMap<string, Decision> {
  const { ranges, others, reserved } = world;
  const claims = world.claims.toSorted((a, b) => a.age < b.age ? -1 : 1);
  /** Who has an address now, or may have it any moment. */
  const users = new Map<string, Claim[]>();
  const shared = new Map<string, Set<string>>();
  const use = (claim: Claim, address: string): void => {
    if (claim.sharing !== undefined) {
      shared.set(claim.sharing, (shared.get(claim.sharing) ?? new Set()).add(address));
    }
    const present = users.get(address);
    if (present === undefined) users.set(address, [claim]);
    else if (!present.includes(claim)) present.push(claim);
  };
  for (const claim of claims) {
    for (const address of [...claim.have, ...reserved.get(claim.key) ?? []]) use(claim, address);
  }

  /** Why a Service cannot have an address, if it cannot. */
  const refusal = (claim: Claim, address: string): string | undefined => {
    const other = others.get(address);
    if (other !== undefined) return `it is in use by ${other}`;
    const user = users.get(address)?.find((one) => one !== claim && !canShare(one, claim));
    return user && `it is in use by Service "${user.key}"${hint(user, claim)}`;
  };
  const lowest = lowestFree(ranges, (address) => users.has(address) || others.has(address));

  const keepers = new Map<string, Claim[]>();
  const decisions = new Map<string, Decision>();
  const kept = new Map(claims.map((claim) => [claim, keep(claim, world, keepers)]));
  // Who asks for an address goes before those that take any, also before older ones.
  const asks = ({ requested }: Claim): boolean => requested.length > 0;
  for (const claim of [...claims.filter(asks), ...claims.filter((claim) => !asks(claim))]) {
    decisions.set(claim.key, decide(claim, kept.get(claim) ?? new Map()));
  }
  return decisions;

  function decide(claim: Claim, has: ReadonlyMap<Family, string>): Decision {
    // Nearly all of them, nearly always.
    const content = has.size > 0 && has.size === claim.families.length &&
      has.size === claim.have.length && claim.requested.length === 0 &&
      claim.fault === undefined && !claim.have.some((address) => others.has(address));
    if (content) return { addresses: claim.have };
    const problems = claim.have.flatMap((address) => {
      const other = [...has.values()].includes(address) ? others.get(address) : undefined;
      return other === undefined ? [] : `Its address ${address} is in use by ${other} as well`;
    });
    const unchanged = (...more: readonly string[]): Decision =>
      decision([...has.values()], [...problems, ...more]);
    if (claim.leaving) return unchanged();
    if (claim.fault !== undefined) return unchanged(claim.fault);
    if (claim.families.length === 0) {
      return unchanged(
        "It has neither ipFamilies nor a cluster IP, which say what family it wants",
      );
    }

    const outside = outsideOf(claim, ranges);
    const chosen = new Map(has);
    const lacking: string[] = [];
    for (const family of served(claim, ranges)) {
      if (outside.has(family)) continue;
      const wanted = claim.requested.find((text) => parseAddress(text)?.family === family);
      const found = wanted === undefined ? any(claim, family, has) : asked(claim, wanted, has);
      if (found.address !== undefined) chosen.set(family, found.address);
      if (found.problem !== undefined) lacking.push(found.problem);
    }
    for (const text of claim.requested) {
      const family = parseAddress(text)?.family;
      if (claim.families.some((one) => one === family)) continue;
      lacking.push(`It asks for ${text}, and its ipFamilies have no IPv${family}; correct one`);
    }
    const complete = claim.families.every((family) => chosen.has(family) || outside.has(family));
    if (claim.both && !complete) {
      return unchanged(...lacking, "It gets nothing new: RequireDualStack needs both families");
    }
    for (const address of chosen.values()) use(claim, address);
    return decision([...chosen.values()], [...problems, ...lacking]);
  }

  type Found = { readonly address?: string; readonly problem?: string };

  function asked(claim: Claim, wanted: string, has: ReadonlyMap<Family, string>): Found {
    if ([...has.values()].includes(wanted)) return { address: wanted };
    if (rangeOf(ranges, wanted) === undefined) {
      const texts = ranges.map(({ text }) => text).join(", ");
      return { problem: `It asks for ${wanted}, which is in no range of the pool (${texts})` };
    }
    const reason = refusal(claim, wanted);
    return reason === undefined
      ? { address: wanted }
      : { problem: `It asks for ${wanted}, but ${reason}` };
  }

  function any(claim: Claim, family: Family, has: ReadonlyMap<Family, string>): Found {
    const present = has.get(family);
    if (present !== undefined) return { address: present };
    const usable = (text: string): boolean => {
      const range = rangeOf(ranges, text);
      return range?.family === family && range.pool === claim.pool &&
        refusal(claim, text) === undefined;
    };
    // What was on its way to it already, and what it may share.
    const address = reserved.get(claim.key)?.find(usable) ??
      [...shared.get(claim.sharing ?? "") ?? []].find(usable) ??
      lowest(claim.pool, family);
    return address === undefined ? { problem: lackOf(claim.pool, family, ranges) } : { address };
  }
}

/** What of its addresses a Service keeps, by family: older Services first, no two that may not share. */
function keep(
  claim: Claim,
  { ranges }: World,
  keepers: Map<string, Claim[]>,
): Map<Family, string> {
  const kept = new Map<Family, string>();
  for (const address of claim.have) {
    const family = rangeOf(ranges, address)?.family;
    if (family === undefined || kept.has(family) || !claim.families.includes(family)) continue;
    const present = keepers.get(address) ?? [];
    if (present.some((other) => !canShare(other, claim))) continue;
    keepers.set(address, [...present, claim]);
    kept.set(family, address);
  }
  return kept;
}

/** Families of which a Service has an address that is of no range: somebody else's gift, which stays. */
function outsideOf(claim: Claim, ranges: readonly Range[]): ReadonlySet<Family> {
  return new Set(
    claim.have.filter((text) => rangeOf(ranges, text) === undefined)
      .flatMap((text) => parseAddress(text)?.family ?? []),
  );
}

/** The families to look for: one that is merely preferred, and that the pool does not have, is not missed. */
function served(claim: Claim, ranges: readonly Range[]): readonly Family[] {
  if (claim.both) return claim.families;
  const there = claim.families.filter((family) =>
    ranges.some((range) => range.family === family && range.pool === claim.pool) ||
    claim.requested.some((text) => parseAddress(text)?.family === family)
  );
  return there.length === 0 ? claim.families : there;
}

function canShare(a: Claim, b: Claim): boolean {
  return a.sharing !== undefined && a.sharing === b.sharing &&
    !a.ports.some((port) => b.ports.includes(port));
}

function hint(user: Claim, claim: Claim): string {
  if (claim.sharing === undefined) return "";
  const port = claim.ports.find((one) => user.ports.includes(one));
  return user.sharing === claim.sharing
    ? `, which has port ${port} as well`
    : ", which has another sharing key, traffic policy or other pods";
}

/** Finds the lowest address that is free; fast when asked again and again, as what was taken stays so. */
function lowestFree(
  ranges: readonly Range[],
  isTaken: (address: string) => boolean,
): (pool: string, family: Family) => string | undefined {
  const places = new Map<string, { range: number; value: bigint }>();
  return (pool, family) => {
    const list = ranges.filter((range) => range.family === family && range.pool === pool);
    const id = `${family} ${pool}`;
    const place = places.get(id) ?? { range: 0, value: list[0]?.first ?? 0n };
    places.set(id, place);
    for (let range = list[place.range]; range !== undefined; range = list[++place.range]) {
      if (place.value < range.first || place.value > range.last) place.value = range.first;
      for (; place.value <= range.last; place.value++) {
        const text = addressText({ family, value: place.value });
        if (!isTaken(text)) return text;
      }
      place.value = -1n;
    }
    return undefined;
  };
}

function lackOf(pool: string, family: Family, ranges: readonly Range[]): string {
  const name = pool === "" ? "the pool" : `the pool "${pool}"`;
  const list = ranges.filter((range) => range.family === family && range.pool === pool);
  const size = list.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
  return size === 0n
    ? `It wants an IPv${family} address, and ${name} has no IPv${family} range; add one`
    : `No IPv${family} address is free: all ${size} of ${name} are in use; add a range, or delete Services`;
}

function decision(addresses: readonly string[], problems: readonly string[]): Decision {
  return problems.length === 0 ? { addresses } : { addresses, problem: problems.join("; ") };
}
