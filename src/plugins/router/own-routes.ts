/**
 * The routes of our own that the speaker announces, by prefix: all of them, or what follows from one VIP that moved. Pod networks
 * and VIPs go before what other plugins ask for at the same prefix, which takes over when they go.
 */

import { type Cidr, contains, hostCidr, parseCidr } from "../../kernel/ip.ts";
import type { LocalRoute } from "./bgp/mod.ts";
import { rangeWithout } from "./ranges.ts";
import { NO_REQUESTS, type Requests } from "./requests.ts";
import { PLUGIN_CLASS, POD_CLASS, VIP_CLASS } from "./speaker-config.ts";
import type { VipState } from "./vip-set.ts";

/** What the routes depend on besides the VIPs. */
export interface OwnRoutesInput {
  /** Pod CIDRs of this node, canonical. */
  readonly podCidrs: readonly string[];
  /** This node's address of each family; routes of a family without one are left out. */
  readonly nextHops: { readonly 4?: string; readonly 6?: string };
}

/** What is known of VIPs. */
export interface KnownVips {
  states(): Iterable<readonly [address: string, state: VipState]>;
  state(address: string): VipState | undefined;
}

export interface OwnRoutes {
  /** Live view, never to be kept. */
  readonly all: ReadonlyMap<string, LocalRoute>;
  /** The networks among them that stand for VIPs; another list whenever they are others. */
  readonly aggregates: readonly string[];
  /** Computes all of them anew. */
  renew(input: OwnRoutesInput): void;
  /** The states of these VIPs changed: the prefixes whose routes did. */
  moved(addresses: Iterable<string>): readonly string[];
  /** What plugins ask for at these prefixes changed: the prefixes whose routes did. */
  requested(prefixes: Iterable<string>): readonly string[];
}

/** A range that is announced as a whole, where that saves routes. */
interface Range {
  readonly cidr: Cidr;
  /** Its VIPs that every node announces. */
  readonly everywhere: Set<string>;
  /** Those that nobody may announce. */
  readonly nowhere: Set<string>;
  /** The networks that stand for it now. */
  networks: readonly Cidr[];
}

/**
 * @param cidrs ranges to announce as a whole, the first one first where they overlap
 * @param requests what plugins ask for
 */
export function ownRoutes(
  vips: KnownVips,
  cidrs: readonly Cidr[] = [],
  requests: Requests = NO_REQUESTS,
): OwnRoutes {
  const all = new Map<string, LocalRoute>();
  const ranges = cidrs.map((cidr): Range => ({
    cidr,
    everywhere: new Set(),
    nowhere: new Set(),
    networks: [],
  }));
  let aggregates: readonly string[] = [];
  let input: OwnRoutesInput = { podCidrs: [], nextHops: {} };

  const put = (prefix: string, name: string): void => {
    const route = localRoute(prefix, name, input.nextHops);
    if (route !== undefined) all.set(prefix, route);
  };
  /** Takes a route of a pod network or VIP, or of a plugin, and leaves what a plugin asks for. */
  const drop = (prefix: string): void => {
    const route = requests.route(prefix, input.nextHops);
    if (route === undefined) all.delete(prefix);
    else all.set(prefix, route);
  };
  const rangeOf = (address: string): Range | undefined =>
    ranges.find(({ cidr }) => contains(cidr, address));
  /** Notes the state in its range; whether networks of that range may be others now. */
  const note = (address: string, range: Range | undefined): boolean => {
    if (range === undefined) return false;
    const { everywhere, nowhere } = range;
    const state = vips.state(address);
    const sizes = [everywhere.size, nowhere.size];
    if (state === "everywhere") everywhere.add(address);
    else everywhere.delete(address);
    if (state === "nowhere") nowhere.add(address);
    else nowhere.delete(address);
    return sizes[0] !== everywhere.size || sizes[1] !== nowhere.size;
  };
  /** Gives a range its networks; those that were and are not, and those that came. */
  const aggregate = (range: Range): readonly string[] => {
    const parts = range.everywhere.size === 0 ? [] : rangeWithout(range.cidr, [...range.nowhere]);
    const next = parts.length > range.everywhere.size ? [] : parts;
    const before = range.networks.map(({ text }) => text);
    const now = next.map(({ text }) => text);
    if (before.join() === now.join()) return [];
    range.networks = next;
    aggregates = ranges.flatMap(({ networks }) => networks.map(({ text }) => text));
    for (const text of before) drop(text);
    for (const text of now) put(text, VIP_CLASS);
    return [...new Set([...before, ...now])];
  };
  /** Whether a VIP has a route of its own. */
  const single = (address: string, range: Range | undefined): boolean => {
    const state = vips.state(address);
    if (state !== "everywhere" || range === undefined) {
      return state === "here" || state === "everywhere";
    }
    return !range.networks.some((network) => contains(network, address));
  };
  const isVip = (prefix: string): boolean => all.get(prefix)?.class === VIP_CLASS;
  /** Gives a VIP its route, or takes it; its prefix where that was a change. */
  const place = (address: string, range: Range | undefined): readonly string[] => {
    const prefix = hostCidr(address)?.text;
    // A pod network of one address is a pod network.
    if (prefix === undefined || all.get(prefix)?.class === POD_CLASS) return [];
    const had = isVip(prefix);
    if (!single(address, range)) { if (had) drop(prefix); }
    else if (!had) put(prefix, VIP_CLASS);
    return had === isVip(prefix) ? [] : [prefix];
  };

  return {
    all,
    get aggregates() {
      return aggregates;
    },
    renew(next) {
      input = next;
      all.clear();
      for (const range of ranges) {
        range.everywhere.clear();
        range.nowhere.clear();
        range.networks = [];
      }
      aggregates = [];
      for (const cidr of input.podCidrs) put(cidr, POD_CLASS);
      for (const [address] of vips.states()) note(address, rangeOf(address));
      for (const range of ranges) aggregate(range);
      for (const [address] of vips.states()) place(address, rangeOf(address));
      for (const prefix of requests.prefixes()) if (!all.has(prefix)) drop(prefix);
    },
    requested(prefixes) {
      const free = [...prefixes].filter((prefix) => {
        const name = all.get(prefix)?.class;
        return name === undefined || name === PLUGIN_CLASS;
      });
      for (const prefix of free) drop(prefix);
      return free;
    },
    moved(addresses) {
      const changed: string[] = [];
      const concerned = new Set<Range>();
      const placed = [...addresses].map((address) => [address, rangeOf(address)] as const);
      for (const [address, range] of placed) {
        if (note(address, range) && range !== undefined) concerned.add(range);
      }
      for (const range of concerned) {
        const networks = aggregate(range);
        if (networks.length === 0) continue;
        changed.push(...networks);
        for (const address of range.everywhere) changed.push(...place(address, range));
      }
      for (const [address, range] of placed) changed.push(...place(address, range));
      return changed;
    },
  };
}

function localRoute(
  prefix: string,
  name: string,
  nextHops: OwnRoutesInput["nextHops"],
): LocalRoute | undefined {
  const family = parseCidr(prefix)?.family;
  const nextHop = family === undefined ? undefined : nextHops[family];
  return nextHop === undefined ? undefined : { prefix, nextHop, class: name, origin: "igp" };
}
