/** The routes of our own: a whole set or some changes come in, the difference goes to the RIBs. */

import type { Family } from "../../../kernel/ip.ts";
import { type CheckedRoute, checkRoute } from "./config.ts";
import type { Core } from "./core.ts";
import { reimportPrefix } from "./received.ts";
import { LOCAL } from "./rib/rib.ts";
import type { LocalRoute } from "./types.ts";

export class LocalRoutes {
  readonly #routes = new Map<string, CheckedRoute>();

  /** @throws {RangeError} that names the route; then nothing has changed */
  set(core: Core, routes: readonly LocalRoute[], seconds: number): void {
    const wanted = new Map<string, CheckedRoute>();
    for (const route of routes) {
      const checked = this.#checked(route);
      const same = wanted.get(route.prefix);
      if (same !== undefined && same.key !== checked.key) {
        throw new RangeError(`Route "${route.prefix}" is there twice, with different attributes`);
      }
      wanted.set(route.prefix, checked);
    }
    for (const text of this.#routes.keys()) if (!wanted.has(text)) this.#remove(core, text);
    for (const [text, checked] of wanted) this.#put(core, text, checked, seconds);
  }

  /**
   * Routes by prefix; without one it goes.
   *
   * @throws {RangeError} that names the route; then nothing has changed
   */
  change(
    core: Core,
    changes: Iterable<readonly [prefix: string, route: LocalRoute | undefined]>,
    seconds: number,
  ): void {
    const checked = [...changes].map(([text, route]) =>
      [text, route === undefined ? undefined : this.#checked(route)] as const
    );
    for (const [text, route] of checked) {
      if (route === undefined) this.#remove(core, text);
      else this.#put(core, text, route, seconds);
    }
  }

  #checked(route: LocalRoute): CheckedRoute {
    const known = this.#routes.get(route.prefix);
    return known?.route === route ? known : checkRoute(route);
  }

  #remove(core: Core, text: string): void {
    const known = this.#routes.get(text);
    if (known === undefined) return;
    this.#routes.delete(text);
    const { family, words, length } = known.prefix;
    const rib = core.ribs[family];
    const id = rib.prefixes.find(words, 0, length);
    if (id < 0) return;
    rib.delete(id, LOCAL);
    classify(core, family, id, undefined);
  }

  #put(core: Core, text: string, checked: CheckedRoute, seconds: number): void {
    const known = this.#routes.get(text);
    if (known === checked) return;
    this.#routes.set(text, checked);
    const { key, attributes, prefix, route } = checked;
    if (known?.key === key && known.route.class === route.class) return;
    const rib = core.ribs[prefix.family];
    const id = rib.prefixId(prefix.words, 0, prefix.length);
    const set = core.attributes.get(key) ?? core.attributes.add(key, attributes);
    rib.put(id, LOCAL, set, set, seconds);
    classify(core, prefix.family, id, route.class);
  }
}

/** The class is no attribute, but policies look at it. */
function classify(core: Core, family: Family, id: number, name: string | undefined): void {
  const classes = core.classes[family];
  if (classes.get(id) === name) return;
  if (name === undefined) classes.delete(id);
  else {
    classes.set(id, name);
    core.ribs[family].touch(id, true);
  }
  reimportPrefix(core, family, id);
}
