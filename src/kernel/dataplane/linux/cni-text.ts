/**
 * The pod CIDRs and the MTU in a CNI configuration: one plugin's (`.conf`) or a list of them (`.conflist`). Pure. The plugin
 * is the one of type "bridge"; its addresses come from "host-local", which hands out one of each range set in `ipam.ranges`.
 */

import { canonicalCidr } from "../../ip.ts";
import {
  addItem,
  addMember,
  edited,
  itemsOf,
  type Json,
  type JsonObject,
  member,
  parseJson,
  removeItem,
  scalarOf,
} from "./json-text.ts";

/** What the file says. */
export interface CniFacts {
  /** Subnets of the bridge plugin's ranges, canonical. */
  readonly subnets: readonly string[];
  /** Whether there is an `ipam.ranges`, be it empty. */
  readonly ranges: boolean;
  readonly mtu?: number;
}

/** What is to be changed. */
export interface CniChange {
  /** Canonical. */
  readonly add: readonly string[];
  readonly remove: readonly string[];
  /** Takes out an `ipam.ranges` that is empty in the end. */
  readonly noRanges?: boolean;
  /** Absent: stays. `null`: is taken out. */
  readonly mtu?: number | null;
}

/** Reads a configuration. @throws {Error} that says what is wrong with it */
export function readCni(text: string): CniFacts {
  const { plugin, ipam } = find(text);
  const mtu = scalarOf(member(plugin, "mtu"));
  return {
    subnets: [...new Set(subnetsOf(ipam))],
    ranges: member(ipam, "ranges") !== undefined,
    ...(typeof mtu === "number" ? { mtu } : {}),
  };
}

/** The text after a change; what is there already is not added again. @throws {Error} as {@linkcode readCni} */
export function changeCni(text: string, { add, remove, noRanges, mtu }: CniChange): string {
  let changed = text;
  for (const cidr of remove) changed = without(changed, cidr);
  if (noRanges === true && add.length === 0) changed = withoutRanges(changed);
  for (const cidr of add) {
    if (!subnetsOf(find(changed).ipam).includes(cidr)) changed = withRange(changed, cidr);
  }
  if (mtu !== undefined) changed = withMtu(changed, mtu);
  return changed;
}

interface Found {
  readonly plugin: JsonObject;
  readonly ipam: JsonObject;
}

function find(text: string): Found {
  let root: Json;
  try {
    root = parseJson(text);
  } catch (error) {
    throw new Error(`it is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const plugins = member(root, "plugins");
  const candidates = plugins === undefined ? [root] : itemsOf(plugins);
  const plugin = plugins === undefined
    ? root
    : candidates.find((each) => scalarOf(member(each, "type")) === "bridge");
  if (plugin?.kind !== "object" || typeof scalarOf(member(plugin, "type")) !== "string") {
    throw new Error(
      plugins === undefined ? 'it has no "type"' : 'it lists no plugin of type "bridge"',
    );
  }
  const ipam = member(plugin, "ipam");
  if (ipam?.kind !== "object") throw new Error('its bridge plugin has no "ipam"');
  return { plugin, ipam };
}

/** The older `ipam.subnet` is one more range for host-local. */
function subnetsOf(ipam: JsonObject): readonly string[] {
  const sets = itemsOf(member(ipam, "ranges")).flatMap(itemsOf);
  const texts = [member(ipam, "subnet"), ...sets.map((range) => member(range, "subnet"))];
  return texts.flatMap((value) => {
    const subnet = scalarOf(value);
    return typeof subnet === "string" ? canonicalCidr(subnet) ?? [] : [];
  });
}

function withRange(text: string, cidr: string): string {
  const { ipam } = find(text);
  const set = `[{"subnet": ${JSON.stringify(cidr)}}]`;
  const ranges = member(ipam, "ranges");
  if (ranges?.kind === "array") return edited(text, addItem(text, ranges, set));
  if (ranges !== undefined) return edited(text, { ...ranges, text: `[${set}]` });
  return edited(text, addMember(text, ipam, "ranges", `[${set}]`));
}

/** Without the range set that holds this subnet alone, with nothing else said of it. */
function without(text: string, cidr: string): string {
  const ranges = member(find(text).ipam, "ranges");
  if (ranges?.kind !== "array") return text;
  const index = ranges.items.findIndex((set) => {
    const [range, ...more] = itemsOf(set);
    const subnet = scalarOf(member(range, "subnet"));
    return range?.kind === "object" && more.length === 0 && range.members.length === 1 &&
      typeof subnet === "string" && canonicalCidr(subnet) === cidr;
  });
  return index < 0 ? text : edited(text, removeItem(ranges, index));
}

function withoutRanges(text: string): string {
  const { ipam } = find(text);
  const ranges = member(ipam, "ranges");
  return ranges?.kind === "array" && ranges.items.length === 0
    ? edited(text, removeMember(ipam, "ranges"))
    : text;
}

function withMtu(text: string, mtu: number | null): string {
  const { plugin } = find(text);
  const value = member(plugin, "mtu");
  if (value !== undefined) {
    if (mtu !== null) return edited(text, { ...value, text: String(mtu) });
    return edited(text, removeMember(plugin, "mtu"));
  }
  return mtu === null ? text : edited(text, addMember(text, plugin, "mtu", String(mtu)));
}

function removeMember(object: JsonObject, key: string) {
  const places = object.members.map(({ at, value }) => ({ ...value, start: at }));
  const index = object.members.findLastIndex((each) => each.key === key);
  return removeItem({ kind: "array", start: object.start, end: object.end, items: places }, index);
}
