/**
 * Drift of the rtnetlink tables: one event socket for links, addresses, routes and rules.
 *
 * An event is judged when it arrives: what our command socket caused carries its port id and is dropped; of the rest
 * only keys that the runtime believes in, or that carry our mark, are kept, the last event of a key counts, and all
 * that came together is reported together. What Linux does silently (IPv4 routes vanish without an event when their
 * link goes down) becomes "unknown".
 */

import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Drift, Resource, WatchContext } from "../resource.ts";
import { type Address, address } from "../resources/address.ts";
import { type Link, link } from "../resources/link.ts";
import { type Route, route } from "../resources/route.ts";
import { type Rule, rule } from "../resources/rule.ts";
import {
  type AddressInfo,
  decodeAddress,
  dumpAddresses,
  RTM_DELADDR,
  RTM_NEWADDR,
} from "./address.ts";
import { listenEvents } from "./events.ts";
import { linkItem } from "./link.ts";
import { type MessageReader, NLM_F_REPLACE } from "./message.ts";
import { asTwin, isTwin, twinOf } from "./route.ts";
import {
  AF_INET,
  aliasOf,
  decodeLink,
  type LinkInfo,
  RTM_DELLINK,
  RTM_NEWLINK,
  type Rtnl,
} from "./rtnl.ts";
import { decodeRoute, RTM_DELROUTE, RTM_NEWROUTE, RTN_LOCAL, RTPROT_KERNEL } from "./rtnl-route.ts";
import { decodeRule, RTM_DELRULE, RTM_NEWRULE } from "./rule.ts";
import { NETLINK_ROUTE } from "./socket.ts";

/** RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE. */
const GROUPS = [1, 5, 7, 8, 9, 11, 19];

/** One table that watches. */
class Watch<T> {
  readonly owner: Owner;
  readonly #resource: Resource<T>;
  readonly #context: WatchContext<T>;
  readonly #now: ((key: string) => Actual<T> | undefined) | undefined;
  readonly #pending = new Map<string, Actual<T> | undefined>();
  #unknown = false;

  /** @param now reads what stands at a key, where an event alone does not tell; may throw */
  constructor(
    resource: Resource<T>,
    owner: Owner,
    context: WatchContext<T>,
    now?: (key: string) => Actual<T> | undefined,
  ) {
    this.#resource = resource;
    this.owner = owner;
    this.#context = context;
    this.#now = now;
  }

  /** What the runtime believes to stand at a key. */
  believed(key: string): Actual<T> | undefined {
    return this.#context.actual.get(key);
  }

  /** `item` now stands at its key, or, where absent, nothing does. */
  note(key: string, actual: Actual<T> | undefined): void {
    this.#pending.set(key, actual);
  }

  /** Whether the runtime believes in an item for which `test` holds. */
  believesAny(test: (item: T) => boolean): boolean {
    for (const { item } of this.#context.actual.values()) if (test(item)) return true;
    return false;
  }

  /** Our own op decided about a key: what events said of it before is old. */
  forget(key: string): void {
    this.#pending.delete(key);
  }

  /** Only a list can tell. */
  noteUnknown(): void {
    this.#unknown = true;
  }

  flush(): void {
    const changes: Drift<T>[] = [];
    for (const [key, told] of this.#pending) {
      const believed = this.believed(key);
      if (this.#same(told, believed)) continue;
      const actual = this.#now === undefined ? told : this.#now(key);
      if (this.#now !== undefined && this.#same(actual, believed)) continue;
      changes.push(actual === undefined ? { key } : { key, actual });
    }
    this.#pending.clear();
    const unknown = this.#unknown;
    this.#unknown = false;
    if (unknown) this.#context.drift("unknown");
    else if (changes.length > 0) this.#context.drift(changes);
  }

  #same(a: Actual<T> | undefined, b: Actual<T> | undefined): boolean {
    if (a === undefined || b === undefined) return a === b;
    // The believed item may leave open what Linux tells (an mtu), so it is the one that wants.
    return a.owned === b.owned && this.#resource.equal(b.item, a.item);
  }
}

interface Watches {
  readonly links: Set<Watch<Link>>;
  readonly addresses: Set<Watch<Address>>;
  readonly routes: Set<Watch<Route>>;
  readonly rules: Set<Watch<Rule>>;
}

export interface MonitorOptions {
  /** Told when the event socket cannot be opened; drift is then found by full rounds only. */
  readonly onError?: (error: unknown) => void;
}

export class Monitor {
  readonly #rtnl: Rtnl;
  readonly #options: MonitorOptions;
  readonly #watches: Watches = {
    links: new Set(),
    addresses: new Set(),
    routes: new Set(),
    rules: new Set(),
  };
  /** Links by index, kept up by events. */
  #links = new Map<number, LinkInfo>();
  /** How many IPv4 addresses each link has, by its index. */
  #addresses = new Map<number, number>();
  /** Linux's own routes that appeared beside ours, to be removed when all events are read. */
  readonly #hiding = new Map<Watch<Route>, Map<string, Route>>();
  readonly #tidy = new Map<Watch<Route>, (hiding: readonly Route[]) => readonly Route[]>();
  #started: Promise<void> | undefined;
  #stop: (() => void) | undefined;
  #closed = false;

  constructor(rtnl: Rtnl, options: MonitorOptions = {}) {
    this.#rtnl = rtnl;
    this.#options = options;
  }

  /** Settles when events that were asked for by a watch do arrive: a list read after that misses nothing. */
  ready(): Promise<void> {
    return this.#started ?? Promise.resolve();
  }

  watchLinks(owner: Owner, context: WatchContext<Link>): () => void {
    // Events of one change show its steps: a link is reported before it has our alias, and setting the alias of a
    // link that is down causes none.
    const now = (name: string) => {
      const info = this.#rtnl.link(name);
      return info === undefined ? undefined : linkItem(info, owner);
    };
    return this.#add(this.#watches.links, new Watch(link, owner, context, now));
  }
  watchAddresses(owner: Owner, context: WatchContext<Address>): () => void {
    return this.#add(this.#watches.addresses, new Watch(address, owner, context));
  }
  /** @param tidy removes routes of Linux's own that hide ours; gives back those that it could not remove */
  watchRoutes(
    owner: Owner,
    context: WatchContext<Route>,
    tidy: (hiding: readonly Route[]) => readonly Route[],
  ): () => void {
    const watch = new Watch(route, owner, context);
    this.#tidy.set(watch, tidy);
    const stop = this.#add(this.#watches.routes, watch);
    return () => {
      this.#tidy.delete(watch);
      this.#hiding.delete(watch);
      stop();
    };
  }
  watchRules(owner: Owner, context: WatchContext<Rule>): () => void {
    return this.#add(this.#watches.rules, new Watch(rule, owner, context));
  }

  close(): void {
    this.#closed = true;
    this.#stop?.();
    this.#stop = undefined;
  }

  #add<T>(set: Set<Watch<T>>, watch: Watch<T>): () => void {
    set.add(watch);
    this.#started ??= this.#start();
    return () => set.delete(watch);
  }

  async #start(): Promise<void> {
    try {
      const stop = await listenEvents(NETLINK_ROUTE, GROUPS, {
        onMessage: (message) => this.#take(message),
        onDrained: () => {
          this.#uncover();
          this.#each((watch) => this.#flush(watch));
        },
        onLost: () => void this.#lost(),
        ...(this.#options.onError === undefined ? {} : { onError: this.#options.onError }),
      }, this.#rtnl.namespace === undefined ? {} : { namespace: this.#rtnl.namespace });
      if (this.#closed) stop();
      else this.#stop = stop;
      await this.#readLinks();
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  async #readLinks(): Promise<void> {
    this.#links = new Map((await this.#rtnl.links()).map((info) => [info.index, info]));
    const counts = new Map<number, number>();
    for (const { index } of await dumpAddresses(this.#rtnl.socket, AF_INET)) {
      counts.set(index, (counts.get(index) ?? 0) + 1);
    }
    this.#addresses = counts;
  }

  async #lost(): Promise<void> {
    await this.#readLinks().catch((error: unknown) => this.#options.onError?.(error));
    this.#each((watch) => {
      watch.noteUnknown();
      this.#flush(watch);
    });
  }

  #flush(watch: Watch<unknown>): void {
    try {
      watch.flush();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#options.onError?.(error);
    }
  }

  #each(act: (watch: Watch<unknown>) => void): void {
    for (const set of Object.values(this.#watches)) {
      for (const watch of set) act(watch as Watch<unknown>);
    }
  }

  #take(message: MessageReader): void {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        return this.#takeLink(message);
      case RTM_NEWADDR:
      case RTM_DELADDR:
        return this.#takeAddress(message);
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        return this.#takeRoute(message);
      case RTM_NEWRULE:
      case RTM_DELRULE:
        return this.#takeRule(message);
    }
  }

  #own(message: MessageReader): boolean {
    return message.portId !== 0 && message.portId === this.#rtnl.portId;
  }

  #takeLink(message: MessageReader): void {
    const info = decodeLink(message);
    if (info === undefined) return;
    const before = this.#links.get(info.index);
    const gone = message.type === RTM_DELLINK;
    if (gone) this.#links.delete(info.index);
    else this.#links.set(info.index, info);
    for (const watch of this.#watches.links) {
      const actual = linkItem(info, watch.owner);
      // A renamed link leaves its old key.
      if (before !== undefined && before.name !== info.name && watch.believed(before.name)) {
        watch.note(before.name, undefined);
      }
      const known = watch.believed(info.name);
      if (known === undefined && !actual.owned) continue;
      watch.note(info.name, gone ? undefined : actual);
    }
    // A link that goes down or away takes addresses and routes along, the IPv4 ones without an event. Linux 6.1 sends
    // link events without the port id of who caused them, so what counts is what we still believe to be there.
    if (!gone && !(before?.up === true && !info.up)) return;
    for (const watch of this.#watches.addresses) {
      if (watch.believesAny((item) => item.link === info.name)) watch.noteUnknown();
    }
    this.#routesFell((item) =>
      item.nextHops.some((hop) => hop.link === undefined || hop.link === info.name)
    );
  }

  #routesFell(test: (item: Route) => boolean): void {
    for (const watch of this.#watches.routes) if (watch.believesAny(test)) watch.noteUnknown();
  }

  /**
   * Routes that go silently with an IPv4 address: those with it as their source (before Linux 6.6), and, when it was
   * the last one of its link, all IPv4 routes of that link (`fib_disable_ip`).
   */
  #addressWent(info: AddressInfo, on: LinkInfo): void {
    const left = (this.#addresses.get(info.index) ?? 0) - 1;
    this.#addresses.set(info.index, Math.max(left, 0));
    this.#routesFell((item) =>
      item.family === 4 &&
      (item.source === info.address ||
        (left <= 0 && item.nextHops.some((hop) => hop.link === on.name)))
    );
  }

  #takeAddress(message: MessageReader): void {
    const info = decodeAddress(message);
    const on = info === undefined ? undefined : this.#links.get(info.index);
    if (info === undefined || on === undefined) return;
    const { index: _, ...rest } = info;
    const item: Address = { ...rest, link: on.name };
    const key = address.key(item);
    const own = this.#own(message);
    const gone = message.type === RTM_DELADDR;
    if (info.family === 4 && gone) this.#addressWent(info, on);
    else if (info.family === 4) {
      this.#addresses.set(info.index, (this.#addresses.get(info.index) ?? 0) + 1);
    }
    for (const watch of this.#watches.addresses) {
      if (own) {
        watch.forget(key);
        continue;
      }
      if (on.alias !== aliasOf(watch.owner) && watch.believed(key) === undefined) continue;
      watch.note(key, gone ? undefined : { item, owned: true });
    }
  }

  #takeRoute(message: MessageReader): void {
    // Cheap test first: a full feed of a BGP daemon passes here.
    const protocol = message.u8(5);
    const replaced = (message.flags & NLM_F_REPLACE) !== 0;
    const gone = message.type === RTM_DELROUTE;
    const concerned = protocol === RTPROT_KERNEL || replaced ||
      // Another's local route that was in our way.
      (gone && message.u8(7) === RTN_LOCAL) ||
      [...this.#watches.routes].some(({ owner }) =>
        owner.protocol === protocol ||
        // What stood there and was not what we want makes room.
        (gone && owner.adopts?.routes?.some((each) => each.protocol === protocol) === true)
      );
    if (!concerned) return;
    const info = decodeRoute(message, (index) => this.#links.get(index)?.name ?? `#${index}`);
    if (info === undefined) return;
    const { route: item } = info;
    const key = route.key(item);
    const own = this.#own(message);
    for (const watch of this.#watches.routes) {
      const ours = protocol === watch.owner.protocol;
      const onOurs = protocol === RTPROT_KERNEL && item.type === "local" &&
        this.#links.get(info.index)?.alias === aliasOf(watch.owner);
      if (own) {
        watch.forget(key);
        // Ours took the place of Linux's own, whose making was told of before.
        const twin = twinOf(item);
        if (twin !== undefined) this.#hiding.get(watch)?.delete(route.key(twin));
      } else if (ours) watch.note(key, gone ? undefined : { item, owned: true });
      else if (onOurs && !replaced && isTwin(asTwin(item))) this.#takeTwin(watch, item, gone);
      else if (gone && watch.believed(key)?.owned === false) watch.note(key, undefined);
      // Routes with our key of which ours is the first stay without effect, unless they took its place.
      else if (replaced && !gone && watch.believed(key) !== undefined) {
        // Linux's own local route on a link of ours is one that ours may replace again.
        watch.note(key, { item, owned: onOurs });
      }
    }
  }

  /**
   * Linux made or removed its own local route: for IPv6 a moment after the address (when duplicate address detection
   * ends), for both families when the address or its link comes back. Where ours stands beside it, removing it is a part
   * of having ours.
   */
  #takeTwin(watch: Watch<Route>, made: Route, gone: boolean): void {
    const ours: Route = made.family === 4 ? made : { ...made, metric: 1024 };
    const item = asTwin(made);
    const key = route.key(item);
    const hiding = this.#hiding.get(watch) ?? new Map<string, Route>();
    this.#hiding.set(watch, hiding);
    if (gone) {
      hiding.delete(key);
      watch.note(key, undefined);
    } else if (watch.believed(route.key(ours))?.owned === true) hiding.set(key, item);
  }

  #uncover(): void {
    for (const [watch, hiding] of this.#hiding) {
      if (hiding.size === 0) continue;
      const items = [...hiding.values()];
      hiding.clear();
      for (const item of this.#tidy.get(watch)?.(items) ?? []) {
        watch.note(route.key(item), { item, owned: true });
      }
    }
  }

  #takeRule(message: MessageReader): void {
    const info = decodeRule(message);
    if (info === undefined) return;
    const key = rule.key(info.rule);
    const own = this.#own(message);
    for (const watch of this.#watches.rules) {
      if (own) {
        watch.forget(key);
        continue;
      }
      if (info.protocol !== watch.owner.protocol) continue;
      watch.note(key, message.type === RTM_NEWRULE ? { item: info.rule, owned: true } : undefined);
    }
  }
}
