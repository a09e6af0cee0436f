/** The dataplane's interface: real (`linux/`), fake (`fake.ts`) and recording (`record.ts`). */

import type { Advertisements } from "./advertisements.ts";
import type { Family, Table, TableRef } from "./resource.ts";
import type { Link } from "./resources/link.ts";
import type { IpvsDestination, IpvsService, IpvsServiceId } from "./resources/ipvs.ts";

/**
 * What another program left in Linux that an owner takes over where it wants exactly that: marked as its own, without a moment in
 * which it is not there. What it does not want stays another's.
 */
export interface Adoption {
  /** Routes of this protocol number in this table. */
  readonly routes?: readonly { readonly protocol: number; readonly table: number }[];
  /** Whether a link without an alias is such a one. Its name alone is no evidence: others may use it as well. */
  readonly links?: (link: Link) => boolean;
}

/** Who writes: its name goes into every mark, its protocol number on every route and rule. */
export interface Owner {
  /** Plugin name, `[a-z][a-z0-9-]*`. */
  readonly name: string;
  /** Route protocol number (rtnetlink `rtm_protocol`): 201 to 203 for the built-ins, 204 to 254 by configuration. */
  readonly protocol: number;
  readonly adopts?: Adoption;
}

/** Counters of an IPVS service since it was made, and rates per second, as Linux estimates them every two seconds. */
export interface IpvsCounters {
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
  readonly connectionRate: number;
  readonly inPacketRate: number;
  readonly outPacketRate: number;
  readonly inByteRate: number;
  readonly outByteRate: number;
}

/** A virtual service as it is in Linux now, with its destinations. */
export interface IpvsEntry {
  readonly item: IpvsService;
  readonly counters: IpvsCounters;
  readonly destinations: readonly IpvsDestinationEntry[];
}

export interface IpvsDestinationEntry {
  readonly item: IpvsDestination;
  readonly counters: IpvsCounters;
  /** Connections that go on. */
  readonly active: number;
  /** Connections that have ended and are remembered for a while; all of UDP's. */
  readonly inactive: number;
}

/** Counters that Linux keeps, for metrics. */
export interface Statistics {
  /** All IPVS services, others' too. @throws {KernelError} when Linux cannot be read */
  ipvsServices(): Promise<
    readonly { readonly id: IpvsServiceId; readonly counters: IpvsCounters }[]
  >;
  /**
   * The IPVS table as `ipvsadm -Ln` prints it, others' services too.
   *
   * @param most services at most, the first ones in its order
   * @throws {KernelError} when Linux cannot be read
   */
  ipvsTable(most: number): Promise<{ readonly text: string; readonly left: number }>;
  /**
   * IPVS services with their destinations, others' too, in the order of `ipvsadm -Ln`.
   *
   * @param only which services; asking for fewer costs less
   * @param most services at most; the rest is counted in `left`
   * @throws {KernelError} when Linux cannot be read
   */
  ipvsEntries(
    only: (id: IpvsServiceId) => boolean,
    most?: number,
  ): Promise<{ readonly entries: readonly IpvsEntry[]; readonly left: number }>;
}

/** One end of a flow. */
export interface FlowEnd {
  readonly address: string;
  readonly port: number;
}

/** A flow of conntrack, as its first packet looked, and where its answers come from. */
export interface Flow {
  readonly family: Family;
  /** IANA's number of the protocol. */
  readonly protocol: number;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** The endpoint where the flow is translated, else the destination itself. */
  readonly answers: FlowEnd;
  /** Mark of the connection. */
  readonly mark: number;
  readonly zone: number;
}

/** The flows that Linux knows. */
export interface Flows {
  /** Those whose source or answering end is `wanted`. @throws {KernelError} ENOSUPPORT where Linux does not tell */
  all(family: Family, wanted: (address: string) => boolean): Promise<readonly Flow[]>;
  /** Sets the bits of `mask` in the marks of flows; those that are gone are no error. @throws {KernelError} */
  mark(flows: readonly Flow[], mark: number, mask: number): void;
}

/** Access to Linux. A table is opened for one owner. */
export interface Dataplane {
  /** Absent where there are none: the fake. */
  readonly statistics?: Statistics;
  /** As `statistics`. */
  readonly flows?: Flows;
  /** What plugins have the router announce; it lives in this process. Absent: nothing. */
  readonly advertisements?: Advertisements;
  /** Opens a kind for an owner. Opening does not touch Linux; `list` and `apply` do. */
  open<T>(ref: TableRef<T>, owner: Owner): Table<T>;
  /**
   * Removes what Linux or its tools made only for what is gone now, and what says nothing to anybody. Absent where there is no such thing.
   *
   * @returns a line for each
   */
  tidy?(): Promise<readonly string[]>;
  /** Releases sockets and timers; Linux stays as it is. */
  close(): Promise<void>;
}
