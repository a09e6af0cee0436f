/** The routes of our own: the whole set comes in, the difference goes to the RIBs. */

import { type CheckedRoute, checkRoute } from "./config.ts";
import type { Core } from "./core.ts";
import { LOCAL } from "./rib/rib.ts";
import type { LocalRoute } from "./types.ts";

export class LocalRoutes {
  readonly #routes = new Map<string, CheckedRoute>();

  /** @throws {RangeError} that names the route; then nothing has changed */
  set(core: Core, routes: readonly LocalRoute[], seconds: number): void {
    const wanted = new Map<string, CheckedRoute>();
    for (const route of routes) {
      const known = this.#routes.get(route.prefix);
      const checked = known?.route === route ? known : checkRoute(route);
      const same = wanted.get(route.prefix);
      if (same !== undefined && same.key !== checked.key) {
        throw new RangeError(`Route "${route.prefix}" is there twice, with different attributes`);
      }
      wanted.set(route.prefix, checked);
    }
    for (const [text, { prefix }] of this.#routes) {
      if (wanted.has(text)) continue;
      this.#routes.delete(text);
      const rib = core.ribs[prefix.family];
      const id = rib.prefixes.find(prefix.words, 0, prefix.length);
      if (id < 0) continue;
      rib.delete(id, LOCAL);
      core.classes[prefix.family].delete(id);
    }
    for (const [text, checked] of wanted) {
      const known = this.#routes.get(text);
      if (known === checked) continue;
      this.#routes.set(text, checked);
      if (known?.key === checked.key && known.route.class === checked.route.class) continue;
      put(core, checked, seconds);
    }
  }
}

function put(core: Core, { key, attributes, prefix, route }: CheckedRoute, seconds: number): void {
  const rib = core.ribs[prefix.family];
  const id = rib.prefixId(prefix.words, 0, prefix.length);
  const set = core.attributes.get(key) ?? core.attributes.add(key, attributes);
  rib.put(id, LOCAL, set, set, seconds);
  const classes = core.classes[prefix.family];
  // The class is no attribute, but policies look at it.
  if (classes.get(id) !== route.class) rib.touch(id, true);
  if (route.class === undefined) classes.delete(id);
  else classes.set(id, route.class);
}
