/**
 * The contract of third parties' plugins: all that an author sees. `routelet plugin types` prints it with all that it names.
 *
 * It is the part of `plugin.ts` that holds across threads: such a plugin runs in a thread of its own, on copies of the stores
 * that it watches, and what it wants goes to the agent as messages. So what it wants has to be plain data.
 */

import type {
  ApiWrite,
  BackgroundEnd,
  ClusterApi,
  HostAddresses,
  Input,
  Logger,
  Reconciler,
  StoreLike,
  Stores,
  Tables,
  Watch,
} from "./plugin.ts";
import type { ContainerPort } from "./cluster/kinds.ts";
import type { PluginMetrics } from "./observe/metrics.ts";

/** Version of the contract. A plugin made for another one is refused, with both versions named. */
export type ApiVersion = 1;

/** A value of an option. */
export type Setting = string | number | boolean | readonly string[];

/** Values of all options, by name. */
export type Settings = Readonly<Record<string, Setting>>;

/** Declares an option. */
export interface OptionDeclaration {
  /** What it is when nobody sets it. Its type is the option's: a text that is no such value is refused. */
  readonly default: Setting;
  /** One line for people. */
  readonly help: string;
}

/**
 * A plugin: the default export of its file, or a function that makes one.
 *
 * It says what should be; only the agent changes Linux, retries, repairs, and removes what nobody wants any more.
 */
export interface Plugin<Options = Settings> {
  /** The name of its file or folder without the ending: `[a-z][a-z0-9-]*`. Owner of what it wants in Linux. */
  readonly name: string;
  readonly api: ApiVersion;
  /** One line for `routelet plugin list`. */
  readonly summary?: string;
  /** The options that it takes from `--plugin NAME.key=value` and from `NAME.yaml` beside it. Others are errors. */
  readonly options?: Readonly<Record<string, OptionDeclaration>>;
  /** The objects that it reads. Nothing else is watched, and other stores are closed to it. */
  readonly watches: readonly Watch[];
  /** The kinds of Linux state that it wants items of. Others are closed to it. */
  readonly tables: readonly (keyof Tables)[];
  /** What it writes to the API server. Anything else is refused. Absent: nothing. */
  readonly writes?: readonly ApiWrite[];
  /**
   * Makes of the settings what `setup` gets as `context.options`; absent: the settings as they are. Pure.
   *
   * @throws {Error} with a message that names the option, the value and what is allowed
   */
  parse?(settings: Settings): Options;
  /** Declares reconcilers. Must return or resolve within 10 s. */
  setup(context: PluginContext<Options>): void | Promise<void>;
}

/** What a plugin is given at `setup`. */
export interface PluginContext<Options = Settings> {
  readonly options: Options;
  /** Name of the Node object that this agent runs on. */
  readonly node: string;
  /** The stores that `watches` named, read-only. They are filled after `setup`. */
  readonly stores: Stores;
  /** References to every kind of Linux state, for `Desired.want`. */
  readonly tables: Tables;
  /** The addresses of this host's own links, as Linux has them; not those that plugins asked for. */
  readonly host: HostAddresses;
  /**
   * The API server, for what `writes` names, and for reads of the kinds in `watches` that must not be late. For background
   * tasks, never for `desired`. Its leases are called as the plugin is, or begin with that name and a dash.
   */
  readonly api: ClusterApi;
  readonly log: Logger;
  /** What the plugin measures with. The names get the prefix `kube_router_plugin_NAME_`. */
  readonly metrics: PluginMetrics;
  /** Aborted when the plugin must stop. */
  readonly signal: AbortSignal;
  /** Adds a reconciler. */
  reconcile(reconciler: Reconciler): void;
  /**
   * Makes an input of a store: `units` names the units that an object bears on, or "all" of them. It is
   * asked for the object before and after each change.
   */
  input<T>(store: StoreLike<T>, units: (object: T) => Iterable<string> | "all"): Input;
  /**
   * Something that runs beside the rounds, such as a health check: begun when the agent works, and never for a dry run. What
   * it gives back ends it. What it learns reaches `desired` through an `Input` of the plugin's own.
   */
  background(begin: () => BackgroundEnd | Promise<BackgroundEnd>): void;
}

export type { ContainerPort, PluginMetrics };

export type {
  Address,
  Advertisement,
  ApiEvent,
  ApiFailure,
  ApiFailureCode,
  ApiWrite,
  BackgroundEnd,
  Bridge,
  BridgeHairpin,
  Chain,
  ClusterApi,
  CniConf,
  Desired,
  EndpointSlice,
  FilterRule,
  FouPort,
  HealthCheck,
  HostAddress,
  HostAddresses,
  Input,
  IpSet,
  IpSetMember,
  IpvsDestination,
  IpvsProtocol,
  IpvsService,
  IpvsServiceId,
  IpvsTimeout,
  Jump,
  Lease,
  Link,
  LoadBalancerIngress,
  Logger,
  Match,
  Namespace,
  NetworkPolicy,
  NextHop,
  Node,
  Pod,
  PodAddress,
  PodLink,
  Reconciler,
  Route,
  Rule,
  Service,
  Store,
  StoreLike,
  Stores,
  Sysctl,
  TableRef,
  Tables,
  Target,
  Watch,
} from "./plugin.ts";
