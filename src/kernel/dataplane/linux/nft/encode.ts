/**
 * Rules as bytes. Of 20,000 rules most ask and do what others do, so that what a match or a target becomes is encoded once and
 * copied from then on.
 */

import type { Family } from "../../resource.ts";
import { type FilterRule, type Match, partText, type Target } from "../../resources/filter.ts";
import { counter, encoded, type Expression, VERDICT, verdict } from "./expressions.ts";
import {
  LAST,
  matchExpressions,
  order,
  renderRule,
  targetExpressions,
  Unsayable,
} from "./rules.ts";

/** Renders rules of one family, and remembers what they were made of. For one transaction: sets and chains come and go. */
export class RuleEncoder {
  readonly #family: Family;
  /** By what is asked or done, and about what. */
  readonly #pieces = new Map<string, Map<string, Uint8Array>>();

  constructor(family: Family) {
    this.#family = family;
  }

  /**
   * Bytes of the expressions of a rule, in pieces: one list for each nf_tables rule that it becomes, as {@linkcode renderRule}.
   *
   * @param chainName what a chain of ours is called in nf_tables
   * @throws {Unsayable}
   */
  encode(
    rule: FilterRule,
    chainName: (name: string) => string,
  ): readonly (readonly Uint8Array[])[] {
    if (rule.matches.some(isList)) {
      return renderRule(this.#family, rule, chainName).map((list) => [bytesOf(list)]);
    }
    const pieces: Uint8Array[] = [];
    // In the order of rules.ts, without a sorted list of each.
    for (let rank = 0; rank <= LAST; rank++) {
      for (const match of rule.matches) if (order(match) === rank) pieces.push(this.#match(match));
    }
    pieces.push(this.#target(rule.target, chainName));
    return [pieces];
  }

  /** Bytes of what ends a rule. */
  verdict(kind: keyof typeof VERDICT): Uint8Array {
    return this.#known("verdict", kind) ??
      this.#remember("verdict", kind, [verdict(VERDICT[kind])]);
  }

  #match(match: Match): Uint8Array {
    const kind = matchKind(match);
    const about = kind === "" ? `match ${partText(match)}` : matchAbout(match);
    return this.#known(kind, about) ??
      this.#remember(kind, about, matchExpressions(this.#family, match));
  }

  #target(target: Target, chainName: (name: string) => string): Uint8Array {
    const kind = targetKind(target);
    const about = kind === "" ? `target ${partText(target)}` : targetAbout(target, chainName);
    return this.#known(kind, about) ??
      this.#remember(kind, about, [
        counter,
        ...targetExpressions(this.#family, target, chainName),
      ]);
  }

  #known(kind: string, about: string): Uint8Array | undefined {
    return this.#pieces.get(kind)?.get(about);
  }

  #remember(kind: string, about: string, expressions: readonly Expression[]): Uint8Array {
    const bytes = bytesOf(expressions);
    const same = this.#pieces.get(kind);
    if (same === undefined) this.#pieces.set(kind, new Map([[about, bytes]]));
    else same.set(about, bytes);
    return bytes;
  }
}

/** With {@linkcode targetAbout} different for different targets; empty for those that are rare. */
function targetKind({ kind }: Target): string {
  switch (kind) {
    case "jump":
      return "-j";
    case "mark":
      return "-j MARK";
    case "log":
      return "-j NFLOG";
    case "accept":
    case "drop":
    case "return":
      return "-j VERDICT";
    default:
      return "";
  }
}

function targetAbout(target: Target, chainName: (name: string) => string): string {
  switch (target.kind) {
    case "jump":
      // Chains of one name are others in each of iptables' tables.
      return chainName(target.chain);
    case "mark":
      return `${target.set}/${target.mask ?? ""}`;
    case "log":
      return `${target.group}/${target.prefix ?? ""}`;
    default:
      return target.kind;
  }
}

/** With {@linkcode matchAbout} different for different matches; empty for those that are rare. */
function matchKind(match: Match): string {
  switch (match.kind) {
    case "set": {
      if (match.negate === true) return "";
      const [one, two, more] = match.directions;
      if (one === undefined || more !== undefined) return "";
      if (two === undefined) return one === "src" ? "set src" : "set dst";
      if (one !== two) return "";
      return one === "src" ? "set src,src" : "set dst,dst";
    }
    case "source":
    case "destination":
      return match.negate === true ? "" : match.kind;
    case "ports":
      return match.side === "source" ? "sport" : "dport";
    case "protocol":
    case "mark":
    case "limit":
      return match.kind;
    default:
      return "";
  }
}

function matchAbout(match: Match): string {
  switch (match.kind) {
    case "set":
      return match.set;
    case "source":
    case "destination":
      return match.prefix;
    case "ports":
      return match.ports;
    case "protocol":
      return match.protocol;
    case "mark":
      return `${match.mark}/${match.mask ?? ""}`;
    case "limit":
      return `${match.perMinute}/${match.burst}`;
    default:
      return "";
  }
}

function isList(match: Match): boolean {
  return match.kind === "ports" && match.ports.includes(",");
}

function bytesOf(expressions: readonly Expression[]): Uint8Array {
  try {
    return encoded(expressions);
  } catch (error) {
    if (error instanceof RangeError) throw new Unsayable(error.message);
    throw error;
  }
}
