/** Policies: statements over a route, compiled once and shared by the peers that have equal ones. */

import { type Family, ipBytes } from "../../../../kernel/ip.ts";
import type { Match, Modification, Policy, RouteSource, Statement } from "../types.ts";
import { type Attributes, prependPath } from "../wire/attributes.ts";
import { parseCommunity, parseLargeCommunity } from "../wire/communities.ts";
import { covers, parsePrefix, type Prefix } from "../wire/prefix.ts";
import { PrefixTable } from "./prefixes.ts";

/** What a policy sees of a route. */
export interface Route {
  readonly family: Family;
  readonly words: Uint32Array;
  /** Where the prefix's words begin. */
  readonly at: number;
  readonly length: number;
  readonly source: RouteSource;
  readonly class: string | undefined;
  readonly attributes: Attributes;
}

export interface Decision {
  readonly accept: boolean;
  /** Index of the statement, or -1 for the default. */
  readonly statement: number;
  readonly name: string;
  readonly set: CompiledModification | undefined;
}

export interface CompiledPolicy {
  /** Equal policies have equal keys. */
  readonly key: string;
  /** Nothing matches and nothing is changed: every route meets the default. */
  readonly trivial: boolean;
  /** Something is matched by prefix. */
  readonly byPrefix: boolean;
  decide(route: Route): Decision;
}

export interface CompiledModification {
  /** Of the next hop: our own address, or this one for its family. */
  readonly nextHop: "self" | Uint8Array | undefined;
  /** All but the next hop. */
  apply(attributes: Attributes): Attributes;
  readonly key: string;
}

/** @throws {RangeError} that names the statement and the value */
export function compilePolicy(policy: Policy): CompiledPolicy {
  const key = JSON.stringify(policy);
  const statements = policy.statements.map((statement, index) =>
    compileStatement(statement, index)
  );
  const fallback: Decision = {
    accept: policy.default === "accept",
    statement: -1,
    name: `default ${policy.default}`,
    set: undefined,
  };
  return {
    key,
    trivial: statements.length === 0,
    byPrefix: policy.statements.some(({ match }) => match?.prefixes !== undefined),
    decide(route) {
      for (const { matches, decision } of statements) if (matches(route)) return decision;
      return fallback;
    },
  };
}

function compileStatement(
  statement: Statement,
  index: number,
): { readonly matches: (route: Route) => boolean; readonly decision: Decision } {
  return {
    matches: compileMatch(statement.match ?? {}, statement.name),
    decision: {
      accept: statement.action === "accept",
      statement: index,
      name: `statement "${statement.name}"`,
      set: statement.set === undefined || statement.action === "reject"
        ? undefined
        : compileModification(statement.set, `Statement "${statement.name}"`),
    },
  };
}

function compileMatch(match: Match, name: string): (route: Route) => boolean {
  const tests: ((route: Route) => boolean)[] = [];
  const { family, classes, source, prefixes, communities } = match;
  if (family !== undefined) tests.push((route) => route.family === family);
  if (source !== undefined) tests.push((route) => source.includes(route.source));
  if (classes !== undefined) {
    const set = new Set(classes);
    tests.push((route) => route.class !== undefined && set.has(route.class));
  }
  if (prefixes !== undefined) tests.push(compilePrefixes(match, name));
  if (communities !== undefined) {
    const plain = new Set<number>();
    const large: string[] = [];
    for (const text of communities) {
      const value = parseCommunity(text);
      if (value !== undefined) plain.add(value);
      else if (parseLargeCommunity(text) !== undefined) large.push(text);
      else throw new RangeError(`Statement "${name}" matches community "${text}", which is none`);
    }
    tests.push(({ attributes }) =>
      attributes.communities.some((value) => plain.has(value)) ||
      large.some((text) => hasLarge(attributes.largeCommunities, text))
    );
  }
  const [only, ...more] = tests;
  if (only === undefined) return () => true;
  return more.length === 0 ? only : (route) => tests.every((test) => test(route));
}

function hasLarge(values: readonly number[], text: string): boolean {
  for (let i = 0; i < values.length; i += 3) {
    if (`${values[i]}:${values[i + 1]}:${values[i + 2]}` === text) return true;
  }
  return false;
}

/** Exact prefixes, of which there may be thousands, by hash; ranges one by one. */
function compilePrefixes(match: Match, name: string): (route: Route) => boolean {
  const exact = { 4: new PrefixTable(4), 6: new PrefixTable(6) };
  const ranges: { prefix: Prefix; min: number; max: number }[] = [];
  for (const { prefix: text, min, max } of match.prefixes ?? []) {
    const prefix = parsePrefix(text);
    if (prefix === undefined) {
      throw new RangeError(`Statement "${name}" matches prefix "${text}", which is no CIDR`);
    }
    if (min === undefined && max === undefined) {
      exact[prefix.family].add(prefix.words, 0, prefix.length);
    } else {
      ranges.push({
        prefix,
        min: min ?? prefix.length,
        max: max ?? (prefix.family === 4 ? 32 : 128),
      });
    }
  }
  return ({ family, words, at, length }) =>
    exact[family].find(words, at, length) >= 0 ||
    ranges.some(({ prefix, min, max }) =>
      prefix.family === family && length >= min && length <= max &&
      covers(prefix, words, at, length)
    );
}

/** @throws {RangeError} that begins with `of` and names the value */
export function compileModification(set: Modification, of: string): CompiledModification {
  const communities = parseCommunities(set.communities ?? [], of);
  const large = parseLargeCommunities(set.largeCommunities ?? [], of);
  const { prepend, localPref, med } = set;
  let nextHop: CompiledModification["nextHop"];
  if (set.nextHop !== undefined) {
    nextHop = set.nextHop === "self" ? "self" : ipBytes(set.nextHop);
    if (nextHop === undefined) {
      throw new RangeError(
        `${of} sets next hop "${set.nextHop}": it must be "self" or an IP address`,
      );
    }
  }
  return {
    nextHop,
    key: JSON.stringify(set),
    apply(attributes) {
      const changed = { ...attributes };
      if (prepend !== undefined && prepend.count > 0) {
        changed.asPath = prependPath(attributes.asPath, prepend.asn, prepend.count);
      }
      if (communities.length > 0) {
        changed.communities = [...new Set([...attributes.communities, ...communities])];
      }
      if (large.length > 0) {
        const own = new Set(large.map((triple) => triple.join(":")));
        const kept: number[] = [];
        for (let i = 0; i < attributes.largeCommunities.length; i += 3) {
          const triple = attributes.largeCommunities.slice(i, i + 3);
          if (!own.has(triple.join(":"))) kept.push(...triple);
        }
        changed.largeCommunities = [...kept, ...large.flat()];
      }
      if (localPref !== undefined) changed.localPref = localPref;
      if (med !== undefined) changed.med = med;
      return changed;
    },
  };
}

/** @throws {RangeError} that begins with `of` and names the value */
export function parseCommunities(texts: readonly string[], of: string): number[] {
  return texts.map((text) => {
    const value = parseCommunity(text);
    if (value === undefined) {
      throw new RangeError(
        `${of} has community "${text}": it must be "AS:VALUE", a number of 32 bits or a well-known name`,
      );
    }
    return value;
  });
}

/** @throws {RangeError} that begins with `of` and names the value */
export function parseLargeCommunities(
  texts: readonly string[],
  of: string,
): (readonly [number, number, number])[] {
  return texts.map((text) => {
    const value = parseLargeCommunity(text);
    if (value === undefined) {
      throw new RangeError(`${of} has large community "${text}": it must be "AS:VALUE:VALUE"`);
    }
    return value;
  });
}
