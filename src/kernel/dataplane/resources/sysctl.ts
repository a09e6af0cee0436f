import type { Resource } from "../resource.ts";

/** A sysctl. Mark: its path is in the owner's ledger with the value it had, which comes back when it is no longer wanted. */
export interface Sysctl {
  /** Below /proc/sys: "net/ipv4/vs/conntrack". */
  readonly path: string;
  readonly value: string;
  /** Change it only where Linux now holds this value: rp_filter goes from 1 to 2, and 0 stays 0. */
  readonly onlyFrom?: string;
  /** Read from Linux only: the value before our first write, to which it goes back. */
  readonly was?: string;
}

export const sysctl: Resource<Sysctl> = {
  kind: "sysctl",
  // A node that does not forward, or a proxy whose connections netfilter does not see, must not say that it is ready.
  foundation: true,
  shared: true,
  key: (s) => s.path,
  equal: (want, have) =>
    want.value === have.value || (want.onlyFrom !== undefined && want.onlyFrom !== have.value),
  describe: (s) => `sysctl ${s.path} = ${s.value}`,
  after: ({ value, was }) =>
    was === undefined
      ? "back to its value of before"
      : was === value
      ? "as before"
      : `back to ${was}`,
};
