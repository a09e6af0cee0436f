import type { Family, Resource } from "../resource.ts";

/**
 * A UDP port on which Linux takes tunnel packets in generic UDP encapsulation (GUE, what `ip fou add port N gue` makes).
 * Mark: it is in the owner's ledger.
 */
export interface FouPort {
  readonly family: Family;
  readonly port: number;
  /** Set on items read from Linux alone, where the port is there with another encapsulation. */
  readonly other?: true;
}

export const fouPort: Resource<FouPort> = {
  kind: "fou.port",
  key: (p) => `ipv${p.family} ${p.port}`,
  equal: (want, have) => want.other === have.other,
  describe: (p) => `fou port ${p.port} ipv${p.family} gue`,
};
