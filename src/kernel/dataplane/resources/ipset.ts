import type { Family, Resource } from "../resource.ts";

/** An ipset. Mark: its name starts with a prefix that is the owner's. */
export interface IpSet {
  /** At most 31 characters. */
  readonly name: string;
  readonly type: "hash:ip" | "hash:net" | "hash:ip,port" | "hash:ip,port,ip" | "hash:ip,port,net";
  readonly family: Family;
  /** Largest number of members; absent: Linux's 65,536. */
  readonly maxElements?: number;
  /**
   * Seconds that a member stays where none are said with it, 0 for ever; absent: members have no timeouts. A set of
   * kube-router has 0, and kube-router takes no set of another kind for its own.
   */
  readonly timeout?: number;
  /**
   * Buckets that the hash is made with, each for some twelve members: a power of two, 64 at least; absent: 1,024. Not compared:
   * Linux enlarges a set that needs more, which takes longer than its members do.
   */
  readonly buckets?: number;
}

/** IPSET_DEFAULT_MAXELEM of the hash types. */
export const DEFAULT_MAX_ELEMENTS = 65_536;

/** A member of an ipset of ours. */
export interface IpSetMember {
  readonly set: string;
  /** Canonical text as `ipset` prints it: "10.0.0.1", "10.0.0.0/8", "10.0.0.1,tcp:80", "10.0.0.1,tcp:80,10.0.0.0/8". */
  readonly entry: string;
  /** hash:net only: excluded from the set. */
  readonly nomatch?: boolean;
  /** Not in Linux: key of the IPVS service whose clients the member judges. */
  readonly judges?: string;
}

export const ipset: Resource<IpSet> = {
  kind: "ipset",
  foundation: true,
  key: (s) => s.name,
  equal: (want, have) =>
    want.type === have.type && want.family === have.family && want.timeout === have.timeout &&
    (want.maxElements ?? DEFAULT_MAX_ELEMENTS) === (have.maxElements ?? DEFAULT_MAX_ELEMENTS),
  describe: (s) => `ipset ${s.name} ${s.type} family ${s.family === 4 ? "inet" : "inet6"}`,
};

export const ipsetMember: Resource<IpSetMember> = {
  kind: "ipset.member",
  key: (m) => `${m.set} ${m.entry}`,
  group: (key) => key.slice(0, key.indexOf(" ")),
  equal: (want, have) => (want.nomatch ?? false) === (have.nomatch ?? false),
  describe: (m) => `ipset ${m.set} member ${m.entry}${m.nomatch === true ? " nomatch" : ""}`,
  parentKind: "ipset",
  parent: (m) => m.set,
  subjectKind: "ipvs.service",
  subject: (m) => m.judges,
};
