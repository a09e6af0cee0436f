import type { Resource } from "../resource.ts";

/**
 * How long IPVS keeps an idle connection, for the whole network namespace. Mark: its name is in the owner's ledger with
 * the value before ours, which comes back when nobody wants it any more.
 */
export interface IpvsTimeout {
  /** "tcpfin": TCP after a FIN was seen. */
  readonly name: "tcp" | "tcpfin" | "udp";
  /** At least 1. */
  readonly seconds: number;
}

export const ipvsTimeout: Resource<IpvsTimeout> = {
  kind: "ipvs.timeout",
  key: (t) => t.name,
  equal: (want, have) => want.seconds === have.seconds,
  describe: (t) => `ipvs timeout ${t.name} ${t.seconds} s`,
  after: () => "back to its value of before",
};
