/**
 * The contract between the kernel and its plugins: all that a plugin sees, built-in or from a third party.
 *
 * A plugin says what should be; only the kernel changes Linux. It declares *reconcilers*, each of which splits
 * the desired state into *units* (one Service, one policy) and computes any unit as a pure function of the
 * stores. The kernel decides when, compares with Linux, writes, retries, repairs, logs and measures.
 */

import type { ApiWrite, ClusterApi } from "./cluster/cluster-api.ts";
import type { Stores, Watch } from "./cluster/store.ts";
import type { AdvertisementRequests } from "./dataplane/advertisements.ts";
import type { Adoption, Statistics } from "./dataplane/dataplane.ts";
import type { TableRef } from "./dataplane/resource.ts";
import type { Tables } from "./dataplane/resources/mod.ts";
import type { FlowRule } from "./runtime/flow-marks.ts";
import type { Logger } from "./observe/log.ts";
import type { Metrics } from "./observe/metrics.ts";

/** Version of this contract. A plugin made for another one is refused at start, with both versions named. */
export const PLUGIN_API = 1;

/** A plugin: a plain object made by a module, without state of its own before `setup`. */
export interface Plugin<Options = unknown> {
  /** Owner of what it wants, log scope, metric label, configuration section: `[a-z][a-z0-9-]*`. */
  readonly name: string;
  readonly api: typeof PLUGIN_API;
  /** Names of plugins to set up before this one. Order only, never a channel. */
  readonly after?: readonly string[];
  /** The objects that it reads. Nothing else is watched, and other stores are closed to it. */
  readonly watches: readonly Watch[] | WatchesOf<Options>;
  /** The kinds of Linux state that it wants items of. Others are closed to it. */
  readonly tables: readonly (keyof Tables)[];
  /** What it writes to the API server. Anything else is refused. Absent: nothing. */
  readonly writes?: readonly ApiWrite[];
  /** What another program leaves that it takes over, by the evidence that says whose it was. Absent: nothing. */
  readonly adopts?: Adoption;
  /**
   * Reads its configuration. Pure.
   *
   * @throws {Error} with a message that names the setting, the value and what is allowed
   */
  parse(raw: unknown): Options;
  /** Declares reconcilers. Does not touch Linux. Must return or resolve within 10 s. */
  setup(context: PluginContext<Options>): void | Promise<void>;
}

/** Watches that depend on the options. Pure. (A method's type, so that plugins of all options fit one list.) */
export type WatchesOf<Options> = { of(options: Options): readonly Watch[] }["of"];

/** What a plugin is given at `setup`. */
export interface PluginContext<Options> {
  readonly options: Options;
  /** Name of the Node object that this agent runs on. */
  readonly node: string;
  /** The stores that `watches` named, read-only. */
  readonly stores: Stores;
  /** References to every kind of Linux state, for `Desired.want`. */
  readonly tables: Tables;
  /** The addresses of this host's own links, as Linux has them; not those that plugins asked for. */
  readonly host: HostAddresses;
  /** The API server, for what `writes` names, and for reads of the kinds in `watches` that must not be late. */
  readonly api: ClusterApi;
  readonly log: Logger;
  /** What the plugin measures with; measures nothing where metrics are off. */
  readonly metrics: Metrics;
  /** Counters that Linux keeps; absent where there are none. */
  readonly statistics?: Statistics;
  /** What plugins ask to be announced by BGP (`tables.advertisements`), for the one that does it; absent where nobody does. */
  readonly advertisements?: AdvertisementRequests;
  /** Name of the unit of this plugin that holds an item's key, if one does. */
  holder<T>(table: TableRef<T>, key: string): string | undefined;
  /** Aborted when the plugin must stop. */
  readonly signal: AbortSignal;
  /** Adds a reconciler. */
  reconcile(reconciler: Reconciler): void;
  /** Has established connections ended that are denied by now. Absent effect where Linux does not tell of connections. */
  judgeFlows(rule: FlowRule): void;
  /** Lets items of a kind drain when nobody wants them any more. One rule a kind. Absent: they go at once. */
  retire<T>(table: TableRef<T>, rule: RetirementRule<T>): void;
  /**
   * Leaves in Linux what is ours of a kind and what nobody wants, for as long as `until` is not synced: who would want it is
   * not known yet. A restarted router keeps its routes until its peers have told it theirs.
   *
   * @param concerns which items; absent: all of the kind
   */
  hold<T>(table: TableRef<T>, until: Input, concerns?: (item: T) => boolean): void;
  /** The items of a kind that are ours in Linux now. @throws {KernelError} when Linux cannot be read */
  owned<T>(table: TableRef<T>): Promise<readonly T[]>;
  /** Those that another program left and that `adopts` names. @throws {KernelError} when Linux cannot be read */
  adoptable<T>(table: TableRef<T>): Promise<readonly T[]>;
  /**
   * Something that runs beside the rounds, such as a BGP speaker: begun when the agent works, and never for a dry run. What it
   * gives back ends it.
   */
  background(begin: () => BackgroundEnd | Promise<BackgroundEnd>): void;
  /**
   * Answers a question that a command asks over the agent's socket, which only root may open: `GET
   * /plugins/<plugin>/<topic>?<query>`. What it gives, or promises, is sent as JSON; a `RangeError` means that the question is
   * wrong.
   */
  answer(topic: string, respond: (query: URLSearchParams) => unknown): void;
  /**
   * Makes an input of a store: `units` names the units that an object bears on, or "all" of them. It is
   * asked for the object before and after each change.
   */
  input<T>(store: StoreLike<T>, units: (object: T) => Iterable<string> | "all"): Input;
}

/** Ends a background task; the agent waits for it for a moment. */
export type BackgroundEnd = () => void | Promise<void>;

/** How an item of a plugin's that nobody wants any more is kept in Linux for a while. */
export interface Retirement {
  /** How long at most, ms; it goes earlier when nothing uses it any more. */
  readonly ms: number;
  /** What has to stay as long, besides its parent, where Linux has it as ours. */
  readonly needs?: readonly Wish[];
}

/** An item of a kind. */
export interface Wish {
  readonly table: TableRef<unknown>;
  readonly item: unknown;
}

/**
 * Says how an item that nobody wants any more is kept, or undefined where it goes at once. As pure as
 * {@linkcode Reconciler.desired}: it may be asked for an item that an earlier life of the agent left,
 * and is asked again at each round while the item is kept: undefined then ends it.
 *
 * @param parent what Linux holds at the item's parent, for kinds that have one
 */
export type RetirementRule<T> = (item: T, parent: unknown) => Retirement | undefined;

/** The part of a store that an input needs. */
export interface StoreLike<T> {
  readonly kind: string;
  readonly synced: boolean;
  /** When the last change reached this process, by `performance.now()`. */
  readonly receivedAt?: number | undefined;
  subscribe(
    listener: (changes: readonly { readonly previous?: T; readonly current?: T }[]) => void,
  ): () => void;
}

/** Something that desired state depends on. Linux is untouched until every input is synced. */
export interface Input {
  readonly name: string;
  readonly synced: boolean;
  /**
   * What it lacks beyond the first lists to be synced, with the remedy: shown as what the plugin waits for. Absent: nothing,
   * or only those lists, of which the source tells.
   */
  readonly waitsFor?: string | undefined;
  /** When the cause of the last wake reached this process, by `performance.now()`; only for measuring. */
  readonly receivedAt?: number | undefined;
  /** Calls `wake` with the units that may have changed. An event wakes; state decides. */
  subscribe(wake: (units: Iterable<string> | "all") => void): () => void;
}

/** One address of the host. */
export interface HostAddress {
  readonly link: string;
  readonly family: 4 | 6;
  readonly address: string;
  /** Length of the network that the link is in by it; absent where it is not known. */
  readonly prefix?: number;
  /** Bytes of the link's MTU; absent where the address is link-local or the link's is not known. */
  readonly mtu?: number;
}

/** The host's own addresses. */
export interface HostAddresses extends Input {
  values(): readonly HostAddress[];
}

/** A part of a plugin's desired state, computed unit by unit. */
export interface Reconciler {
  readonly name: string;
  readonly inputs: readonly Input[];
  /** All units that exist now. A unit that is gone is asked for once more, and then wants nothing. */
  units(): Iterable<string>;
  /** Which unit wins when two want one key: the lower text. Absent: the name decides. */
  rank?(unit: string): string;
  /**
   * Says what one unit wants, given the current state. No I/O, no clock, no memory of earlier calls.
   * Throwing marks this unit degraded and leaves in Linux what it wanted before.
   */
  desired(unit: string, desired: Desired): void;
}

/** Takes what a unit wants. */
export interface Desired {
  want<T>(table: TableRef<T>, item: T): void;
  /**
   * Reports something wrong with the unit's objects that costs only itself: names the object, the reason and
   * the remedy. Logged once, shown in the status while it lasts.
   */
  report(problem: string): void;
}

export type { Flow } from "./dataplane/dataplane.ts";
export type { FlowRule } from "./runtime/flow-marks.ts";
export type { Watch } from "./cluster/store.ts";
export type {
  ApiEvent,
  ApiFailure,
  ApiFailureCode,
  ApiWrite,
  ClusterApi,
  Lease,
} from "./cluster/cluster-api.ts";
export type {
  EndpointSlice,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  Service,
  ServiceCIDR,
  Store,
  Stores,
} from "./cluster/store.ts";
export type {
  Labels,
  LabelSelector,
  LoadBalancerIngress,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
} from "./cluster/kinds.ts";
export { derive, type Derived, listenersOf, syncedBy } from "./derived.ts";
export { takeOptions } from "./plugin-options.ts";
export { POD_BRIDGE } from "./pod-bridge.ts";
export { HashTable } from "./hash-table.ts";
export { serviceRangeProblems, serviceRanges } from "./service-ranges.ts";
export type { TableRef } from "./dataplane/resource.ts";
export type { Tables } from "./dataplane/resources/mod.ts";
export type { AdvertisementRequests, RequestedAdvertisement } from "./dataplane/advertisements.ts";
export type { Advertisement } from "./dataplane/resources/advertisement.ts";
export type { Address } from "./dataplane/resources/address.ts";
export type { Bridge } from "./dataplane/resources/bridge.ts";
export type { CniConf } from "./dataplane/resources/cni.ts";
export type { Chain, FilterRule, Jump, Match, Target } from "./dataplane/resources/filter.ts";
export type { FouPort } from "./dataplane/resources/fou.ts";
export type { BridgeHairpin } from "./dataplane/resources/hairpin.ts";
export type { HealthCheck } from "./dataplane/resources/health-check.ts";
export type { IpSet, IpSetMember } from "./dataplane/resources/ipset.ts";
export type {
  IpvsDestination,
  IpvsProtocol,
  IpvsService,
  IpvsServiceId,
} from "./dataplane/resources/ipvs.ts";
export { ipvsFwmarkId, ipvsServiceId } from "./dataplane/resources/ipvs.ts";
export type { IpvsTimeout } from "./dataplane/resources/ipvs-timeout.ts";
export type { Link, Tunnel } from "./dataplane/resources/link.ts";
export type { PodAddress, PodLink } from "./dataplane/resources/pod.ts";
export type { NextHop, Route } from "./dataplane/resources/route.ts";
export type { Rule } from "./dataplane/resources/rule.ts";
export type { Sysctl } from "./dataplane/resources/sysctl.ts";
export type { Logger } from "./observe/log.ts";
export type { Metrics, Sample } from "./observe/metrics.ts";
export type { Adoption, IpvsCounters, IpvsEntry, Statistics } from "./dataplane/dataplane.ts";
