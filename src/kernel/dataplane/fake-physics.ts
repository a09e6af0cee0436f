/**
 * What Linux itself does and refuses, as far as a plan can notice it: parents and references that must exist,
 * references that keep an object busy, children that go with their parent, routes that Linux makes for addresses.
 */

import type { Address } from "./resources/address.ts";
import { address } from "./resources/address.ts";
import type { Chain, FilterRule, Jump, Match, Target } from "./resources/filter.ts";
import type { IpSet, IpSetMember } from "./resources/ipset.ts";
import type { IpvsDestination } from "./resources/ipvs.ts";
import type { Link } from "./resources/link.ts";
import { type PodAddress, podAddress, type PodLink, podLink } from "./resources/pod.ts";
import type { Route } from "./resources/route.ts";
import { route } from "./resources/route.ts";

/** One object of the simulated Linux. */
export interface FakeEntry {
  readonly kind: string;
  readonly key: string;
  readonly item: unknown;
  /** Owner's name, "linux" for what Linux makes itself, `undefined` for a foreign object. */
  readonly owner: string | undefined;
  /** Of a foreign route: the protocol number that its program gave it. */
  readonly protocol?: number;
}

/** The part of the simulated Linux that the rules below look at. */
export interface FakeWorld {
  get(kind: string, key: string): FakeEntry | undefined;
  all(kind: string): Iterable<FakeEntry>;
}

/** Owner of what Linux makes by itself: the local route of an address. */
export const madeByLinux = "linux";

/** Route table numbers (linux/rtnetlink.h: RT_TABLE_MAIN, RT_TABLE_LOCAL). */
const tableLocal = 255;

/** Why Linux refuses to create `item` now: an errno's name, or `undefined`. */
export function refusal(world: FakeWorld, kind: string, item: unknown): string | undefined {
  switch (kind) {
    case "address":
      return world.get("link", (item as Address).link) === undefined ? "ENODEV" : undefined;
    case "pod.address":
      return world.get("pod.link", podAddress.parent?.(item as PodAddress) ?? "") === undefined
        ? "ENODEV"
        : undefined;
    case "route":
      return (item as Route).nextHops.some((hop) =>
          hop.link !== undefined && hop.link !== "lo" && world.get("link", hop.link) === undefined
        )
        ? "ENODEV"
        : undefined;
    case "ipset":
      return (item as IpSet).name.length > 31 ? "EINVAL" : undefined;
    case "ipset.member":
      return world.get("ipset", (item as IpSetMember).set) === undefined ? "ENOENT" : undefined;
    case "ipvs.destination":
      // IPVS answers ESRCH, not ENOENT, where the service is missing (ip_vs_ctl.c, ip_vs_genl_set_cmd).
      return world.get("ipvs.service", (item as IpvsDestination).service.key) === undefined
        ? "ESRCH"
        : undefined;
    case "chain":
      return (item as Chain).rules.some((rule) => !namesExist(world, item as Chain, rule))
        ? "ENOENT"
        : undefined;
    case "jump": {
      const { family, table, to } = item as Jump;
      const found = world.get("chain", chainKey(family, table, to)) !== undefined &&
        namesExist(world, item as Jump, item as Jump);
      return found ? undefined : "ENOENT";
    }
    default:
      return undefined;
  }
}

/** Why Linux refuses to delete `entry` now. */
export function busy(world: FakeWorld, entry: FakeEntry): string | undefined {
  switch (entry.kind) {
    case "ipset":
      return references(world, (match) => match.kind === "set" && match.set === entry.key)
        ? "EBUSY"
        : undefined;
    case "chain":
      return chainIsUsed(world, entry.item as Chain) ? "EBUSY" : undefined;
    default:
      return undefined;
  }
}

/** What goes with `gone`, as Linux removes it. */
export function fallout(world: FakeWorld, gone: FakeEntry): readonly FakeEntry[] {
  switch (gone.kind) {
    case "link": {
      const name = (gone.item as Link).name;
      return [
        ...filter(world, "address", (item) => (item as Address).link === name),
        ...filter(
          world,
          "route",
          (item) => (item as Route).nextHops.some((hop) => hop.link === name),
        ),
      ];
    }
    case "pod.link": {
      const key = podLink.key(gone.item as PodLink);
      return filter(
        world,
        "pod.address",
        (item) => podAddress.parent?.(item as PodAddress) === key,
      );
    }
    case "address": {
      const made = localRoute(gone.item as Address);
      const entry = world.get("route", route.key(made));
      return entry?.owner === madeByLinux ? [entry] : [];
    }
    case "ipset":
      return filter(world, "ipset.member", (item) => (item as IpSetMember).set === gone.key);
    case "ipvs.service":
      return filter(
        world,
        "ipvs.destination",
        (item) => (item as IpvsDestination).service.key === gone.key,
      );
    default:
      return [];
  }
}

/** What Linux makes when `made` appears. An object of that key that is there already stays. */
export function sideEffects(world: FakeWorld, made: FakeEntry): readonly FakeEntry[] {
  if (made.kind !== "address") return [];
  const item = localRoute(made.item as Address);
  const key = route.key(item);
  return world.get("route", key) === undefined
    ? [{ kind: "route", key, item, owner: madeByLinux }]
    : [];
}

/** The IPv6 local route that Linux made for a destination which one of our own routes serves: ours must win. */
export function shadowedBy(item: Route): Route | undefined {
  if (item.family !== 6 || item.type !== "local" || item.table !== tableLocal) return undefined;
  return item.metric === 0 ? undefined : { ...item, metric: 0 };
}

/** The route by which Linux delivers an address to itself. */
function localRoute(from: Address): Route {
  const base = {
    family: from.family,
    table: tableLocal,
    type: "local",
    destination: `${from.address}/${from.family === 4 ? 32 : 128}`,
    metric: 0,
    nextHops: [{ link: from.link }],
  } as const;
  return from.family === 4 ? { ...base, source: from.address } : base;
}

/** Key of the address that made a route of Linux's own, if `item` is such a route. */
export function addressOf(world: FakeWorld, item: Route): FakeEntry | undefined {
  const text = item.destination.slice(0, item.destination.lastIndexOf("/"));
  const link = item.nextHops[0]?.link ?? "";
  const host = { family: item.family, address: text, prefix: item.family === 4 ? 32 : 128, link };
  const found = world.get(address.kind, address.key(host));
  if (found !== undefined) return found;
  for (const entry of world.all(address.kind)) {
    if (route.key(localRoute(entry.item as Address)) === route.key(item)) return entry;
  }
  return undefined;
}

function filter(world: FakeWorld, kind: string, wanted: (item: unknown) => boolean): FakeEntry[] {
  return [...world.all(kind)].filter((entry) => wanted(entry.item));
}

function chainKey(family: number, table: string, name: string): string {
  return `ipv${family} ${table} ${name}`;
}

type Ruleset = Pick<FilterRule, "matches"> & { readonly target?: Target };

function namesExist(world: FakeWorld, place: Pick<Chain, "family" | "table">, rule: Ruleset) {
  const target = rule.target;
  if (
    target?.kind === "jump" &&
    world.get("chain", chainKey(place.family, place.table, target.chain)) === undefined
  ) return false;
  return rule.matches.every((match) =>
    match.kind !== "set" || world.get("ipset", match.set) !== undefined
  );
}

function references(world: FakeWorld, wanted: (match: Match) => boolean): boolean {
  return [...world.all("chain")].some((entry) =>
    (entry.item as Chain).rules.some((rule) => rule.matches.some(wanted))
  ) || [...world.all("jump")].some((entry) => (entry.item as Jump).matches.some(wanted));
}

function chainIsUsed(world: FakeWorld, chain: Chain): boolean {
  const here = (other: Pick<Chain, "family" | "table">) =>
    other.family === chain.family && other.table === chain.table;
  return [...world.all("jump")].some(({ item }) =>
    here(item as Jump) && (item as Jump).to === chain.name
  ) || [...world.all("chain")].some(({ item }) =>
    here(item as Chain) &&
    (item as Chain).rules.some(({ target }) =>
      target.kind === "jump" && target.chain === chain.name
    )
  );
}
