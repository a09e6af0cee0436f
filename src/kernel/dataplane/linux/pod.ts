/**
 * Links and addresses of ours inside pods: rtnetlink in the pods' namespaces, each opened for one piece of work.
 *
 * A pod that is gone took its namespace along: deleting there succeeds, and making something there fails until the
 * endpoint is gone as well. There are no events from pods; a look every few seconds at those that are believed to hold
 * something of ours stands in for them.
 */

import { readFileSync, writeFileSync } from "node:fs";
import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Drift, Op, Outcome, Resource, Table, WatchContext } from "../resource.ts";
import { type PodAddress, podAddress, type PodLink, podLink } from "../resources/pod.ts";
import { dumpAddresses, RTM_DELADDR, RTM_NEWADDR, writeAddressMessage } from "./address.ts";
import { errno, type Refusal } from "./errno.ts";
import { moduleRemedy, writeAlias, writeDelete, writeSet } from "./link-messages.ts";
import { type MessageReader, type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import { inNetworkNamespace } from "./netns.ts";
import { type PodNamespace, type PodNamespaces, readWithin, within } from "./pod-namespaces.ts";
import {
  aliasOf,
  decodeLink,
  GONE,
  guarded,
  IFINFOMSG,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  type LinkInfo,
  outcomes,
  type Request,
  RTM_NEWLINK,
  type Rtnl,
  send,
  writeLinkHead,
} from "./rtnl.ts";

const RTM_GETLINK = 18;
const IFLA_INFO_DATA = 2;
/** linux/if_tunnel.h: the same numbers for ipip and ip6tnl. */
const IFLA_IPTUN_LOCAL = 2;
const IFLA_IPTUN_PROTO = 9;
const IPPROTO_IPV6 = 41;
/** Milliseconds between looks at what is believed to be in pods. */
const LOOK_MS = 5_000;

/** A tunnel in a pod as Linux describes it. */
export interface TunnelInfo extends LinkInfo {
  /** Address of the tunnel's local end. */
  readonly local: string;
}

/** Decodes a link message of an ipip or ip6tnl tunnel with a local end; undefined for all others. */
export function decodeTunnel(message: MessageReader): TunnelInfo | undefined {
  const info = decodeLink(message);
  if (info === undefined || (info.type !== "ipip" && info.type !== "ip6tnl")) return undefined;
  let local = "";
  const attributes = message.attributes(IFINFOMSG);
  while (attributes.next()) {
    if (attributes.type !== IFLA_LINKINFO) continue;
    attributes.nested((inner) => {
      while (inner.next()) {
        if (inner.type !== IFLA_INFO_DATA) continue;
        inner.nested((data) => {
          while (data.next()) if (data.type === IFLA_IPTUN_LOCAL) local = data.address();
        });
      }
    });
  }
  if (attributes.error !== undefined || local === "0.0.0.0" || local === "::" || local === "") {
    return undefined;
  }
  return { ...info, local };
}

interface Found<T> extends Actual<T> {
  readonly namespace: PodNamespace;
}

/** What both kinds share for one owner. */
class Pods {
  readonly namespaces: PodNamespaces;
  /** Counts what we changed: a look that a change of ours overtook says nothing. */
  changes = 0;
  readonly #owner: Owner;

  constructor(namespaces: PodNamespaces, owner: Owner) {
    this.namespaces = namespaces;
    this.#owner = owner;
  }

  /** The mark of links in pods. Nodes may share a machine, and their pods all its namespaces: the node is named as well. */
  get alias(): string {
    return `${aliasOf(this.#owner)}:${this.namespaces.own}`;
  }

  /** Tunnels in all namespaces, or in those of some pods alone. */
  async links(only?: ReadonlySet<string>): Promise<readonly Found<PodLink>[]> {
    const { alias } = this;
    const found: Found<PodLink>[] = [];
    for (const namespace of only === undefined ? this.namespaces.all() : await this.#of(only)) {
      const tunnels = await readWithin(namespace, (rtnl) => dumpTunnels(rtnl)) ?? [];
      for (const info of tunnels) {
        const item = itemOf(namespace, info);
        found.push({ item, owned: info.alias === alias, namespace });
      }
    }
    return found;
  }

  /** Addresses on our links, in all namespaces or in those of some pods alone. */
  async addresses(only?: ReadonlySet<string>): Promise<readonly Actual<PodAddress>[]> {
    const ours = (await this.links(only)).filter(({ owned }) => owned);
    const found: Actual<PodAddress>[] = [];
    for (const { item: { pod, name }, namespace } of ours) {
      const items = await readWithin(namespace, (rtnl) => this.#addressesOf(rtnl, pod, name)) ?? [];
      for (const item of items) found.push({ item, owned: true });
    }
    return found;
  }

  /** The namespaces of pods, each once: a pod has an address of each family. */
  async #of(pods: ReadonlySet<string>): Promise<readonly PodNamespace[]> {
    const search = this.namespaces.search();
    const found = new Map<number, PodNamespace>();
    for (const pod of pods) {
      for (const each of await search.find(pod)) found.set(each.inode, each);
    }
    return [...found.values()];
  }

  async #addressesOf(rtnl: Rtnl, pod: string, name: string): Promise<readonly PodAddress[]> {
    const link = rtnl.link(name);
    if (link === undefined) return [];
    const family = pod.includes(":") ? 10 : 2;
    return (await dumpAddresses(rtnl.socket, family, link.index)).map((
      { family, address, prefix },
    ) => ({ pod, link: name, family, address, prefix }));
  }

  /** Does the ops pod by pod: `work` in the pod's namespace, with the ops that are about it. */
  async apply<T extends { readonly pod: string }>(
    resource: Resource<T>,
    ops: readonly Op<T>[],
    work: Work<T>,
  ): Promise<readonly Outcome<T>[]> {
    this.changes++;
    const byPod = Map.groupBy(ops, ({ item }) => item.pod);
    const results = new Map<Op<T>, Outcome<T>>();
    const search = this.namespaces.search();
    for (const [pod, its] of byPod) {
      try {
        const found = await search.find(pod);
        for (const [op, outcome] of await this.#applyIn(found, resource, its, work)) {
          results.set(op, outcome);
        }
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        for (const op of its) results.set(op, { op, error });
      }
    }
    this.changes++;
    return ops.map((op) => results.get(op) ?? { op });
  }

  /** The ops of one pod, in the namespaces that have its address: nothing is made unless that is one. */
  async #applyIn<T extends { readonly pod: string }>(
    found: readonly PodNamespace[],
    resource: Resource<T>,
    ops: readonly Op<T>[],
    work: Work<T>,
  ): Promise<ReadonlyMap<Op<T>, Outcome<T>>> {
    const results = new Map(ops.map((op) => [op, absent(resource, op)]));
    const clear = found.length < 2;
    if (!clear) { for (const op of ops) results.set(op, ambiguous(resource, op, found)); }
    // What is ours is deleted wherever it is.
    const its = clear ? ops : ops.filter(({ verb }) => verb === "delete");
    for (const namespace of its.length === 0 ? [] : found) {
      const done = await within(
        namespace,
        (rtnl) => guarded(its, () => work(rtnl, namespace, its)),
      );
      for (const outcome of done ?? []) results.set(outcome.op, outcome);
    }
    return results;
  }
}

type Work<T> = (
  rtnl: Rtnl,
  namespace: PodNamespace,
  ops: readonly Op<T>[],
) => readonly Outcome<T>[];

function absent<T extends { readonly pod: string }>(
  resource: Resource<T>,
  op: Op<T>,
): Outcome<T> {
  if (op.verb === "delete") return { op, note: "the pod is gone" };
  return {
    op,
    error: new KernelError(`${op.verb} ${resource.kind}`, "ENOENT", {
      object: resource.key(op.item),
      detail: `no network namespace on this node has the address "${op.item.pod}"`,
      remedy: "the agent must see the node's processes (hostPID: true) or /run/netns",
    }),
  };
}

function ambiguous<T extends { readonly pod: string }>(
  resource: Resource<T>,
  op: Op<T>,
  found: readonly PodNamespace[],
): Outcome<T> {
  return {
    op,
    error: new KernelError(`${op.verb} ${resource.kind}`, "ENOTUNIQ", {
      object: resource.key(op.item),
      detail: `the address "${op.item.pod}" is in ${found.length} network namespaces: ${
        found.map(({ path }) => path).join(", ")
      }`,
      remedy: "set --runtime-endpoint, so that the container runtime is asked",
    }),
  };
}

/** Links of the owner in pods. */
export function podLinkTable(namespaces: PodNamespaces, owner: Owner): Table<PodLink> {
  const pods = new Pods(namespaces, owner);
  const resource = podLink;
  const list = async (only?: ReadonlySet<string>): Promise<readonly Actual<PodLink>[]> =>
    merged(await pods.links(only));
  return {
    resource,
    list: () => list(),
    apply: (ops) =>
      pods.apply(resource, ops, (rtnl, namespace, its) => {
        const refused = new Map<number, Refusal>();
        // One by one: an alias must not be set on a link that refused to be made.
        for (const [i, op] of its.entries()) {
          const refusal = applyLink(rtnl, namespace, op, pods.alias);
          if (refusal !== undefined) refused.set(i, refusal);
        }
        return outcomes(resource.kind, its, resource.key, refused, remedy);
      }),
    refuse: ({ pod, type }) =>
      pod.includes(":") === (type === "ip6tnl")
        ? undefined
        : `a tunnel of type ${type} cannot end at "${pod}"`,
    watch: (context) => look(resource, context, list, () => pods.changes),
  };
}

/** Addresses on links of the owner in pods. */
export function podAddressTable(namespaces: PodNamespaces, owner: Owner): Table<PodAddress> {
  const pods = new Pods(namespaces, owner);
  const resource = podAddress;
  const list = async (only?: ReadonlySet<string>): Promise<readonly Actual<PodAddress>[]> =>
    merged(await pods.addresses(only));
  return {
    resource,
    list: () => list(),
    apply: (ops) =>
      pods.apply(resource, ops, (rtnl, _namespace, its) => {
        const refused = new Map<number, Refusal>();
        const requests = its.flatMap((op, i): readonly Request[] => {
          const link = rtnl.link(op.item.link);
          if (link?.alias === pods.alias) return [addressRequest(op, i, link.index)];
          if (link !== undefined) {
            refused.set(i, { errno: errno.EPERM, text: `link "${link.name}" is not ours` });
          } else if (op.verb !== "delete") {
            refused.set(i, { errno: errno.ENODEV, text: "no such link" });
          }
          return [];
        });
        for (const [i, refusal] of send(rtnl.socket, "write pod.address", requests)) {
          refused.set(i, refusal);
        }
        return outcomes(resource.kind, its, resource.key, refused);
      }),
    watch: (context) => look(resource, context, list, () => pods.changes),
  };
}

/** Each key once: what is ours goes before what is not. */
function merged<T extends PodLink | PodAddress>(
  found: readonly Actual<T>[],
): readonly Actual<T>[] {
  const key = (item: PodLink | PodAddress): string =>
    "name" in item ? podLink.key(item) : podAddress.key(item);
  const items = new Map<string, Actual<T>>();
  for (const have of found) {
    if (have.owned || !items.has(key(have.item))) {
      items.set(key(have.item), { item: have.item, owned: have.owned });
    }
  }
  return [...items.values()];
}

/** All tunnels of a namespace that end at one address, whosever they are. */
export async function dumpTunnels(rtnl: Rtnl): Promise<readonly TunnelInfo[]> {
  return await rtnl.socket.dump("list pod.link", (w) => {
    w.begin(RTM_GETLINK);
    writeLinkHead(w, 0);
    w.end();
  }, decodeTunnel);
}

function itemOf(namespace: PodNamespace, info: TunnelInfo): PodLink {
  const base = {
    pod: info.local,
    name: info.name,
    type: info.type as PodLink["type"],
    up: info.up,
  };
  if (info.type !== "ipip") return base;
  const reversePath = readReversePath(namespace, info.name);
  return reversePath === undefined ? base : { ...base, reversePath };
}

/** Linux takes the larger of the link's value and that of `all` (ip-sysctl): 0 no, 1 strict, 2 loose. */
function readReversePath(namespace: PodNamespace, link: string): PodLink["reversePath"] {
  return inside(namespace, () => {
    const larger = Math.max(Number(read(filterPath("all"))), Number(read(filterPath(link))));
    return larger === 1 ? "strict" : "loose";
  });
}

function loosen(namespace: PodNamespace, link: string): void {
  inside(namespace, () => {
    writeFileSync(filterPath(link), read(filterPath("all")) === "1" ? "2\n" : "0\n");
  });
}

/** Undefined where the pod, or the file, went in the meantime, or where Linux has no such file. */
function inside<T>(namespace: PodNamespace, work: () => T): T | undefined {
  try {
    return inNetworkNamespace(namespace.path, work);
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === "ENOENT" || code === "ESRCH" || code === "EINVAL") return undefined;
    if (error instanceof KernelError) throw error;
    throw new KernelError("read or write rp_filter in a pod", String(code ?? "EIO"), {
      object: namespace.path,
      remedy: "run the agent privileged, with /proc/sys writable",
    });
  }
}

function filterPath(link: string): string {
  return `/proc/sys/net/ipv4/conf/${link}/rp_filter`;
}

function read(path: string): string {
  return readFileSync(path, "utf8").trim();
}

function applyLink(
  rtnl: Rtnl,
  namespace: PodNamespace,
  op: Op<PodLink>,
  alias: string,
): Refusal | undefined {
  const { item } = op;
  const there = rtnl.link(item.name);
  if (there !== undefined && there.alias !== alias) {
    // Another's link of that name is no hindrance to there being none of ours.
    return op.verb === "delete"
      ? undefined
      : { errno: errno.EEXIST, text: `its alias is "${there.alias}", so it is not ours` };
  }
  if (op.verb === "delete") {
    return there === undefined ? undefined : refusalOf(rtnl, [remove(there.index)]);
  }
  // A namespace that is copied, or a link whose address another pod had: what has our alias and another end goes.
  const keeps = op.verb === "update" && there?.type === item.type;
  const refusal = refusalOf(rtnl, [
    ...(there === undefined || keeps ? [] : [remove(there.index)]),
    ...(keeps ? [] : [
      { op: 0, write: (w: MessageWriter) => writeCreate(w, item) },
      { op: 0, write: (w: MessageWriter) => writeAlias(w, item.name, alias) },
    ]),
    { op: 0, write: (w) => writeSet(w, item) },
  ]);
  if (refusal === undefined && item.reversePath === "loose") loosen(namespace, item.name);
  return refusal;
}

function refusalOf(rtnl: Rtnl, requests: readonly Request[]): Refusal | undefined {
  return send(rtnl.socket, "write pod.link", requests).get(0);
}

function remove(index: number): Request {
  return {
    op: 0,
    write: (w) => writeDelete(w, index),
    harmless: GONE,
  };
}

function writeCreate(w: MessageWriter, item: PodLink): void {
  w.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writeLinkHead(w, 0);
  w.string(IFLA_IFNAME, item.name);
  w.nested(IFLA_LINKINFO, (info) => {
    info.string(IFLA_INFO_KIND, item.type);
    info.nested(IFLA_INFO_DATA, (data) => {
      data.address(IFLA_IPTUN_LOCAL, item.pod);
      // IPv6 in IPv6 alone: what else comes for the pod is not for this tunnel.
      if (item.type === "ip6tnl") data.u8(IFLA_IPTUN_PROTO, IPPROTO_IPV6);
    });
  });
  w.end();
}

function remedy(op: Op<PodLink>, refusal: Refusal): string | undefined {
  return moduleRemedy(op.item.type, refusal);
}

function addressRequest(op: Op<PodAddress>, i: number, index: number): Request {
  const { link, family, address, prefix } = op.item;
  const item = { link, family, address, prefix };
  return op.verb === "delete"
    ? {
      op: i,
      write: (w) => writeAddressMessage(w, RTM_DELADDR, 0, item, index),
      harmless: GONE,
    }
    : {
      op: i,
      write: (w) => writeAddressMessage(w, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, item, index),
    };
}

/** Looks every few seconds into the pods that are believed to hold something of ours, and reports what moved. */
function look<T extends { readonly pod: string }>(
  resource: Resource<T>,
  { actual, drift }: WatchContext<T>,
  list: (pods: ReadonlySet<string>) => Promise<readonly Actual<T>[]>,
  changesSoFar: () => number,
): () => void {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    const ours = [...actual].filter(([, { owned }]) => owned);
    if (ours.length === 0) return;
    busy = true;
    const before = changesSoFar();
    list(new Set(ours.map(([, { item }]) => item.pod))).then((found) => {
      if (changesSoFar() !== before) return;
      const now = new Map(found.map((have) => [resource.key(have.item), have]));
      const changes: Drift<T>[] = [];
      for (const [key, believed] of ours) {
        const have = now.get(key);
        if (have === undefined) changes.push({ key });
        else if (have.owned !== believed.owned || !resource.equal(believed.item, have.item)) {
          changes.push({ key, actual: have });
        }
      }
      if (changes.length > 0) drift(changes);
    }, () => {
      // The next full round says what is wrong.
    }).finally(() => {
      busy = false;
    });
  }, LOOK_MS);
  timer.unref?.();
  return () => clearInterval(timer);
}
