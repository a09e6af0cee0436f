/**
 * Two rules as one. What a policy allows is marked by one rule and sent back by the next, which asks the mark: iptables has one
 * target a rule. nf_tables does both in one, which halves the rules of policies. Pure.
 */

import type { FilterRule } from "../../resources/filter.ts";

interface Marking {
  readonly set: number;
  readonly mask: number;
}

/** What a rule marks, if that is all that it does, with bits of its mask alone, and is one rule of nf_tables. */
function marking({ matches, target }: FilterRule): Marking | undefined {
  if (target.kind !== "mark" || target.mask === undefined || target.mask === 0) return undefined;
  if ((target.set & ~target.mask) !== 0) return undefined;
  const list = matches.some((match) => match.kind === "ports" && match.ports.includes(","));
  return list ? undefined : { set: target.set, mask: target.mask };
}

/** Whether a rule sends back what has a mark, and does nothing else. */
function returns({ matches, target, comment }: FilterRule, { set, mask }: Marking): boolean {
  const [match, more] = matches;
  return target.kind === "return" && comment === undefined && more === undefined &&
    match?.kind === "mark" && match.mark === set && match.mask === mask;
}

/**
 * Where the pairs at the end of a chain begin: rules that mark, each with one behind it that sends back what is marked, all with the
 * same mark. The length of the list where there are none.
 *
 * To be one rule they must reach the end. What has the mark already when it comes to such a row meets the first rule that sends it
 * back, and by rules in one goes on, may be marked again, which changes nothing, and comes to the end: it is sent back as well.
 */
export function pairsFrom(rules: readonly FilterRule[]): number {
  let from = rules.length;
  const last = rules[from - 2];
  const mark = last === undefined ? undefined : marking(last);
  if (mark === undefined) return from;
  while (from >= 2) {
    const first = rules[from - 2] as FilterRule;
    const own = marking(first);
    if (own?.set !== mark.set || own.mask !== mark.mask) break;
    if (!returns(rules[from - 1] as FilterRule, mark)) break;
    from -= 2;
  }
  return from;
}
