/** Checks what a plugin's file exports, before anything of it runs. */

import type { ApiWrite } from "../cluster/cluster-api.ts";
import { KIND_NAMES } from "../cluster/kinds.ts";
import { tables } from "../dataplane/resources/mod.ts";
import { PLUGIN_API } from "../plugin.ts";
import type { Plugin } from "../third-party.ts";

const API_WRITES: readonly ApiWrite[] = ["services/status", "events", "leases"];

/** Wrong with the file itself: trying again does not help. */
export class DefinitionError extends Error {
  override readonly name = "DefinitionError";
}

/**
 * The plugin that a module exports.
 *
 * @param name the name of its file
 * @throws {DefinitionError} that says what to change
 */
export function pluginOf(exported: unknown, name: string): Plugin<unknown> {
  const made = typeof exported === "function" ? exported() : exported;
  if (typeof made !== "object" || made === null) {
    throw new DefinitionError(
      "its default export is no plugin; export an object with name, api, watches, tables and setup",
    );
  }
  const plugin = made as Readonly<Record<string, unknown>>;
  if (plugin["api"] !== PLUGIN_API) {
    throw new DefinitionError(
      `it was made for plugin API ${
        plugin["api"]
      }, this agent speaks ${PLUGIN_API}; take a release that fits`,
    );
  }
  if (plugin["name"] !== name) {
    throw new DefinitionError(
      `its field "name" is ${JSON.stringify(plugin["name"])} and its file is called "${name}"; ` +
        "give both the same name",
    );
  }
  checkNames("watches", kindsOf(plugin["watches"]), KIND_NAMES);
  checkNames("tables", plugin["tables"], Object.keys(tables));
  checkNames("writes", plugin["writes"] ?? [], API_WRITES);
  if (typeof plugin["setup"] !== "function") {
    throw new DefinitionError('its field "setup" is no function; declare reconcilers in one');
  }
  return made as Plugin<unknown>;
}

function kindsOf(watches: unknown): unknown {
  return Array.isArray(watches) ? watches.map((watch) => watch?.kind) : watches;
}

function checkNames(field: string, values: unknown, allowed: readonly string[]): void {
  if (!Array.isArray(values)) {
    throw new DefinitionError(
      `its field "${field}" is no list; allowed in it are ${allowed.join(", ")}`,
    );
  }
  const wrong = values.find((value) => !allowed.includes(value));
  if (wrong !== undefined) {
    throw new DefinitionError(
      `its field "${field}" names ${JSON.stringify(wrong)}; allowed are ${allowed.join(", ")}`,
    );
  }
}
