/** Counters of rules of ours, for commands that ask. */

import type { Family } from "../../resource.ts";
import { NftState } from "./state.ts";

export interface RuleCounter {
  readonly chain: string;
  readonly comment: string;
  readonly packets: number;
}

/** The counters of a family's rules; none where they are in iptables. @throws {KernelError} */
export async function nftCounters(
  family: Family,
  options: { readonly namespace?: string } = {},
): Promise<readonly RuleCounter[]> {
  const state = new NftState(options);
  try {
    await state.found();
    return (await state.rules(family, () => true)).map(({ chain, comment = "", packets = 0 }) => ({
      chain,
      comment,
      packets,
    }));
  } finally {
    state.close();
  }
}
