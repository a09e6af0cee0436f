/**
 * Routes of ours. The mark is the protocol number. Linux makes local routes itself, one for each address, and ours
 * have to take their place:
 *
 * - IPv4: same key, so ours replaces it. A create that meets it is such a replacement. Where ours was there first (the
 *   address or the link came back) Linux's is put behind it, without effect; it is listed as ours and deleted.
 * - IPv6: Linux's has metric 0 and wins over ours, so it is deleted whenever ours is written, and listed as ours
 *   where it stands beside one of ours (the address was added again by hand).
 *
 * Local routes of addresses on links of ours for which nobody wants a route of ours stay Linux's business and are not
 * listed; those on other links are others'.
 */

import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Family, Op, Outcome, Table } from "../resource.ts";
import { type Route, route as resource } from "../resources/route.ts";
import { errno, type Refusal } from "./errno.ts";
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "./message.ts";
import type { Monitor } from "./monitor.ts";
import {
  aliasOf,
  GONE,
  guarded,
  type LinkInfo,
  outcomes,
  type Request,
  type Rtnl,
  send,
} from "./rtnl.ts";
import {
  decodeRoute,
  type RouteContext,
  type RouteFilter,
  type RouteInfo,
  RT_TABLE_LOCAL,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_LOCAL,
  RTPROT_KERNEL,
  splitPrefix,
  writeRoute,
  writeRouteDump,
  writeRouteLookup,
} from "./rtnl-route.ts";

/** From how many collisions on the local routes are read as a list instead of one by one. */
const MANY = 32;

/** Whether this is Linux's own local route for an address, beside ours: never a key that we write. */
export function isTwin(route: Route): boolean {
  return route.behind === true ||
    (route.family === 6 && route.type === "local" && route.table === RT_TABLE_LOCAL &&
      route.metric === 0);
}

/** Linux's own local route that would stand beside ours. */
export function twinOf(route: Route): Route | undefined {
  if (route.type !== "local" || route.table !== RT_TABLE_LOCAL || isTwin(route)) return undefined;
  if (route.family === 4) return route.metric === 0 ? { ...route, behind: true } : undefined;
  const { source: _, ...rest } = route;
  return { ...rest, metric: 0 };
}

/** A route that Linux made itself, as it is listed where it stands beside one of ours. */
export function asTwin(route: Route): Route {
  return route.family === 4 ? { ...route, behind: true } : route;
}

export function routeTable(rtnl: Rtnl, monitor: Monitor, owner: Owner): Table<Route> {
  const alias = aliasOf(owner);

  async function dump(
    filter: RouteFilter,
    linkName: (index: number) => string,
  ): Promise<readonly RouteInfo[]> {
    const found = await rtnl.socket.dump(
      "list route",
      (w) => writeRouteDump(w, filter),
      (message) => decodeRoute(message, linkName),
    );
    // Linux before 4.20 does not filter.
    return found.filter((info) =>
      (filter.protocol === undefined || info.protocol === filter.protocol) &&
      (filter.table === undefined || info.route.table === filter.table) &&
      (filter.index === undefined || info.index === filter.index)
    );
  }

  async function list(): Promise<readonly Actual<Route>[]> {
    await monitor.ready();
    const links = await rtnl.links();
    const names = new Map(links.map((link) => [link.index, link.name]));
    const linkName = (index: number) => names.get(index) ?? `#${index}`;
    const items = new Map<string, Actual<Route>>();
    for (const family of [4, 6] as const satisfies readonly Family[]) {
      for (const info of await dump({ family, protocol: owner.protocol }, linkName)) {
        // Of several with one key the first is in force.
        const key = resource.key(info.route);
        if (!items.has(key)) items.set(key, { item: info.route, owned: true });
      }
    }
    const twins = [...items.values()].map(({ item }) => twinOf(item)).filter((r) =>
      r !== undefined
    );
    const expected = new Set(twins.map((r) => resource.key(r)));
    for (const family of new Set(twins.map((r) => r.family))) {
      const filter = { family, table: RT_TABLE_LOCAL, type: RTN_LOCAL, protocol: RTPROT_KERNEL };
      for (const link of links.filter((l) => l.alias === alias)) {
        for (const { route } of await dump({ ...filter, index: link.index }, linkName)) {
          const item = asTwin(route);
          const key = resource.key(item);
          if (expected.has(key)) items.set(key, { item, owned: true });
        }
      }
    }
    for (const item of await left(linkName)) {
      const key = resource.key(item);
      if (!items.has(key)) items.set(key, { item, owned: false, adoptable: true });
    }
    for (const { item } of await others(links, linkName)) {
      const key = resource.key(item);
      if (!items.has(key)) items.set(key, { item, owned: false });
    }
    return [...items.values()];
  }

  /** What another program left that is ours to take where we want it. */
  async function left(linkName: (index: number) => string): Promise<readonly Route[]> {
    const found: Route[] = [];
    for (const { protocol, table } of owner.adopts?.routes ?? []) {
      for (const family of [4, 6] as const satisfies readonly Family[]) {
        // Linux refuses to list a table that does not exist, so it is asked for the protocol alone.
        for (const { route } of await dump({ family, protocol }, linkName)) {
          if (route.table === table) found.push(route);
        }
      }
    }
    return found;
  }

  /**
   * Local routes of others, as a VIP meets them whose address is on another link: they are in our way. Those that Linux
   * made for addresses on links of ours are not: ours replace them.
   */
  async function others(
    links: readonly LinkInfo[],
    linkName: (index: number) => string,
  ): Promise<readonly { readonly item: Route }[]> {
    const ours = new Set(links.filter((l) => l.alias === alias).map(({ index }) => index));
    const found: { readonly item: Route }[] = [];
    for (const family of [4, 6] as const satisfies readonly Family[]) {
      const filter = { family, table: RT_TABLE_LOCAL, type: RTN_LOCAL };
      for (const { protocol, index, route: item } of await dump(filter, linkName)) {
        if (protocol === owner.protocol || isTwin(item)) continue;
        if (protocol === RTPROT_KERNEL && ours.has(index)) continue;
        found.push({ item });
      }
    }
    return found;
  }

  function requests(op: Op<Route>, i: number, context: RouteContext): readonly Request[] {
    const { item } = op;
    const fromLinux = { ...context, protocol: RTPROT_KERNEL, onLink: true };
    if (op.verb === "delete") {
      const by = isTwin(item) ? fromLinux : context;
      return [{
        op: i,
        write: (w) => writeRoute(w, RTM_DELROUTE, 0, item, by),
        harmless: GONE,
      }];
    }
    const flags = NLM_F_CREATE | (op.verb === "create" ? NLM_F_EXCL : NLM_F_REPLACE);
    // Behind ours an IPv4 one has no effect and can wait for its event; before ours an IPv6 one has.
    const hidden = item.family === 6 ? twinOf(item) : undefined;
    const tidy: readonly Request[] = hidden === undefined ? [] : [{
      op: i,
      write: (w) => writeRoute(w, RTM_DELROUTE, 0, hidden, fromLinux),
      harmless: GONE,
    }];
    return [
      { op: i, write: (w) => writeRoute(w, RTM_NEWROUTE, flags, item, context) },
      ...tidy,
    ];
  }

  /** For creates that met something: takes the place of what Linux made on a link of ours, or says who is there. */
  async function settle(
    ops: readonly Op<Route>[],
    refused: Map<number, Refusal>,
    context: RouteContext,
  ): Promise<void> {
    const met = [...refused].filter(([i, r]) =>
      r.errno === errno.EEXIST && ops[i]?.verb === "create"
    ).map(([i]) => i);
    if (met.length === 0) return;
    // A VIP comes alone as a rule: one question about its link is cheaper than a list of all pods' links.
    const links = met.length < MANY ? undefined : await rtnl.ownedLinks(owner);
    const isMine = (index: number, item: Route): boolean => {
      if (links !== undefined) return links.has(index);
      const name = item.nextHops[0]?.link;
      const link = name === undefined ? undefined : rtnl.link(name);
      return link?.index === index && link.alias === alias;
    };
    const linkName = (index: number) => `#${index}`;
    const listed = met.length < MANY ? undefined : new Map(
      [...await dump({ family: 4, table: RT_TABLE_LOCAL, type: RTN_LOCAL }, linkName)].toReversed()
        .map((info) => [resource.key(info.route), info] as const),
    );
    const again: Request[] = [];
    for (const i of met) {
      const op = ops[i];
      if (op === undefined) continue;
      const there = listed?.get(resource.key(op.item)) ?? await holder(op.item, linkName);
      const replaceable = there?.protocol === owner.protocol ||
        (there?.protocol === RTPROT_KERNEL && there.route.type === "local" &&
          isMine(there.index, op.item));
      if (replaceable) {
        refused.delete(i);
        again.push(...requests({ verb: "update", item: op.item, have: op.item }, i, context));
      } else if (there !== undefined) {
        refused.set(i, {
          errno: errno.EEXIST,
          text: `a route of protocol ${there.protocol} is there`,
        });
      }
    }
    for (const [i, refusal] of send(rtnl.socket, "replace route", again)) refused.set(i, refusal);
  }

  /** Who holds a route's key, as far as that can be found without reading a table that may hold a full feed. */
  async function holder(
    item: Route,
    linkName: (index: number) => string,
  ): Promise<RouteInfo | undefined> {
    const key = resource.key(item);
    const [address] = splitPrefix(item.destination) ?? [""];
    let found: RouteInfo | undefined;
    try {
      rtnl.socket.request(
        "read route",
        (w) => writeRouteLookup(w, item.family, address),
        (message) => found = decodeRoute(message, linkName) ?? found,
        item.destination,
      );
    } catch (error) {
      // No way to that address (ENETUNREACH), or one that forbids it (EACCES, EHOSTUNREACH, EINVAL).
      if (!(error instanceof KernelError)) throw error;
    }
    // Linux keeps the local table in the main one's trie, and calls all that it finds there main.
    const table = item.family === 4 && item.table === RT_TABLE_LOCAL
      ? item.table
      : found?.route.table;
    const there = found === undefined ? undefined : { ...found.route, table: table ?? 0 };
    if (found !== undefined && there !== undefined && resource.key(there) === key) {
      return { ...found, route: there };
    }
    const filter = { family: item.family, table: item.table, protocol: owner.protocol };
    return (await dump(filter, linkName)).find((info) => resource.key(info.route) === key);
  }

  /** Removes routes of Linux's own that hide ours; gives back those that stay. */
  function uncover(hidingOurs: readonly Route[]): readonly Route[] {
    const ops = hidingOurs.map((item): Op<Route> => ({ verb: "delete", item }));
    const context: RouteContext = { protocol: owner.protocol, index: linkIndexes(rtnl, ops) };
    const result = guarded(ops, () => {
      const list = ops.flatMap((op, i) => requests(op, i, context));
      const refused = send(rtnl.socket, "delete route", list);
      return outcomes("route", ops, resource.key, refused);
    });
    return result.filter(({ error }) => error !== undefined).map(({ op }) => op.item);
  }

  return {
    resource,
    list,
    async apply(ops) {
      const refused = new Map<number, Refusal>();
      const index = linkIndexes(rtnl, ops);
      const context: RouteContext = { protocol: owner.protocol, index };
      const first = guarded(ops, (): readonly Outcome<Route>[] => {
        const ready = ops.flatMap((op, i) => {
          const missing = op.verb === "delete"
            ? undefined
            : op.item.nextHops.find((hop) =>
              hop.link !== undefined && index(hop.link) === undefined
            );
          if (missing === undefined) return requests(op, i, context);
          refused.set(i, { errno: errno.ENODEV, text: `there is no link "${missing.link}"` });
          return [];
        });
        for (const [i, refusal] of send(rtnl.socket, "write route", ready)) refused.set(i, refusal);
        return [];
      });
      if (first.length > 0) return first;
      await settle(ops, refused, context);
      return outcomes("route", ops, resource.key, refused, remedy);
    },
    watch: (context) => monitor.watchRoutes(owner, context, uncover),
  };
}

/** Indexes of the links that the ops name, asked for beforehand: a batch that is being written cannot be interrupted. */
function linkIndexes(
  rtnl: Rtnl,
  ops: readonly Op<Route>[],
): (name: string) => number | undefined {
  const known = new Map<string, number | undefined>();
  for (const { item } of ops) {
    for (const { link } of item.nextHops) {
      if (link !== undefined && !known.has(link)) known.set(link, rtnl.link(link)?.index);
    }
  }
  return (name) => known.get(name);
}

function remedy(op: Op<Route>, refusal: Refusal): string | undefined {
  return refusal.errno === errno.EINVAL && op.item.source !== undefined
    ? `check that "${op.item.source}" is an address of this node`
    : undefined;
}
