import type { Resource } from "../resource.ts";

/**
 * The part of a CNI configuration that is ours: the pod CIDRs of its bridge plugin's address ranges, and its MTU. All else in
 * the file stays as it is, byte for byte. Mark: the owner's ledger says what we added to it.
 */
export interface CniConf {
  /** Absolute path; where it is missing, the same with "list" at its end (`….conf`, `….conflist`). */
  readonly path: string;
  /** Canonical, in the order in which they are to be added. */
  readonly podCidrs: readonly string[];
  /** Bytes; absent leaves the file's. */
  readonly mtu?: number;
  /** Set on items read alone: those of `podCidrs` that we added, which go when nobody wants them. */
  readonly added?: readonly string[];
}

export const cniConf: Resource<CniConf> = {
  kind: "cni.conf",
  key: (c) => c.path,
  equal: (want, have) =>
    want.podCidrs.every((cidr) => have.podCidrs.includes(cidr)) &&
    // Of what was written, and not read since, all is ours.
    (have.added ?? have.podCidrs).every((cidr) => want.podCidrs.includes(cidr)) &&
    (want.mtu === undefined || want.mtu === have.mtu),
  describe: (c) =>
    `CNI configuration ${c.path} with ${c.podCidrs.join(", ")}${
      c.mtu === undefined ? "" : ` mtu ${c.mtu}`
    }`,
};
