import type { Family, Resource } from "../resource.ts";

/** An address on a link of ours. Mark: it is on a link that carries our mark, and we never add one elsewhere. */
export interface Address {
  readonly family: Family;
  /** Canonical text, without prefix. */
  readonly address: string;
  /** Prefix length: 32 or 128 for a VIP. */
  readonly prefix: number;
  readonly link: string;
}

export const address: Resource<Address> = {
  kind: "address",
  key: (a) => `${a.address}/${a.prefix} dev ${a.link}`,
  equal: () => true,
  describe: (a) => `address ${a.address}/${a.prefix} dev ${a.link}`,
  parentKind: "link",
  parent: (a) => a.link,
};
