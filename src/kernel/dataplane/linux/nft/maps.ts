/** Maps of verdicts that stand for jumps by address, written and read. */

import type { Owner } from "../../dataplane.ts";
import type { Family } from "../../resource.ts";
import type { MessageWriter } from "../message.ts";
import { type Dispatch, entryMark, hashesOf, mapComment, mapHash } from "./dispatch.ts";
import { keyType } from "./elements.ts";
import { nextId } from "./ids.ts";
import { type MapToWrite, writeMap, writeMapEntries, writeRule } from "./messages.ts";
import { chainName, parseChainName } from "./names.ts";
import { renderDispatch } from "./rules.ts";
import type { NftState } from "./state.ts";

/** Elements of one message: at most 350 bytes each, and a list is shorter than 64 KiB. */
const MAP_ENTRIES = 150;

/** Jumps by address: their map, its elements, and the rule that asks it. */
export function writeDispatch(
  w: MessageWriter,
  family: Family,
  chain: string,
  owner: Owner,
  dispatch: Dispatch,
): void {
  const { table } = parseChainName(chain);
  const id = nextId();
  const map: MapToWrite = {
    family,
    key: keyType({ type: "hash:ip", family }),
    comment: mapComment(dispatch),
    entries: dispatch.entries.map((entry, place) => ({
      key: entry.address,
      chain: chainName({ table, name: entry.chain }),
      ...(entry.comment === undefined ? {} : { comment: entry.comment }),
      mark: entryMark(place, entry),
    })),
  };
  writeMap(w, map, id);
  for (let at = 0; at < map.entries.length; at += MAP_ENTRIES) {
    writeMapEntries(w, map, id, at, at + MAP_ENTRIES);
  }
  const data = { mark: `${owner.name}:map:${dispatch.hash}` };
  const expressions = renderDispatch(family, dispatch.side, id);
  writeRule(w, { family, chain, expressions, data });
}

/** What one of our maps stands for: the hashes of its rules. */
export type Maps = ReadonlyMap<string, readonly string[]>;

/** The maps of jumps that a family has, by their hash. Equal ones are read once. */
export async function readMaps(state: NftState, family: Family): Promise<Maps> {
  const maps = new Map<string, readonly string[]>();
  for (const { name, comment } of await state.sets(family)) {
    const hash = mapHash(comment);
    if (hash === undefined || maps.has(hash)) continue;
    const marks = (await state.elements(family, name)).map(({ mark }) => mark);
    const hashes = hashesOf(marks);
    if (hashes !== undefined) maps.set(hash, hashes);
  }
  return maps;
}
