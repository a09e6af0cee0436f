import type { Resource } from "../resource.ts";

/**
 * A bridge that pods hang on, and that a CNI plugin may have made before us: made where it is missing, set up, given its MTU.
 * Mark: the owner's ledger, with the MTU of before or that we made it. It is removed only if we made it and it has no ports.
 */
export interface Bridge {
  /** At most 15 characters (IFNAMSIZ). */
  readonly name: string;
  /** Bytes; absent leaves it as it is. */
  readonly mtu?: number;
  /** Set on items read from Linux alone: somebody took it down. */
  readonly down?: true;
}

export const bridge: Resource<Bridge> = {
  kind: "bridge",
  key: (b) => b.name,
  equal: (want, have) =>
    want.down === have.down && (want.mtu === undefined || want.mtu === have.mtu),
  describe: (b) => `bridge ${b.name}${b.mtu === undefined ? "" : ` mtu ${b.mtu}`} up`,
};
