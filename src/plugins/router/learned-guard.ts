/** Says when so much was learned by BGP that it is hardly meant for a node: nothing else tells a full feed from what is wanted. */

import type { Logger } from "../../kernel/plugin.ts";

/** The largest clusters have half as many nodes, and announce little else. */
const MANY = 10_000;

/**
 * Told how many prefixes are learned, it warns at 10,000, 100,000 and a million; once each, until there are few again.
 *
 * @returns what is to be called with the number whenever it may have changed
 */
export function learnedGuard(log: Pick<Logger, "warn">): (prefixes: number) => void {
  let next = MANY;
  return (prefixes) => {
    if (prefixes < MANY / 2) next = MANY;
    if (prefixes < next) return;
    while (next <= prefixes) next *= 10;
    log.warn(
      "BGP peers have announced so many prefixes that they fill this node's routing table: let them announce less, or " +
        "limit them with --bgp-max-prefixes",
      { prefixes },
    );
  };
}
