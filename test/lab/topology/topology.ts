/** The topology file: what it may say, read and checked. */

import { addressOf, type Cidr, isAddress, parseCidr } from "./cidr.ts";

export const NEEDS = ["ipvs", "dummy", "ipip", "nftables", "ipset", "iptables-legacy"] as const;
export type Need = typeof NEEDS[number];

export const DAEMONS = ["bird", "frr", "gobgp"] as const;
export type Daemon = typeof DAEMONS[number];

export interface NodeSpec {
  readonly name: string;
  readonly addresses: readonly Cidr[];
  readonly podCIDRs: readonly Cidr[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly flags: readonly string[];
  readonly agent: boolean;
}

export interface RouterSpec {
  readonly name: string;
  readonly addresses: readonly Cidr[];
  readonly daemon: Daemon | undefined;
  /** Relative to the topology's folder. */
  readonly config: string | undefined;
}

export interface ClientSpec {
  readonly name: string;
  readonly addresses: readonly Cidr[];
  readonly gateways: readonly string[];
}

export interface Topology {
  readonly flags: readonly string[];
  readonly podRoutes: "lab" | "agent";
  readonly nodes: readonly NodeSpec[];
  readonly routers: readonly RouterSpec[];
  readonly clients: readonly ClientSpec[];
  readonly manifests: readonly string[];
  /** A node that serves the API at its addresses from the start, whatever endpoints say. */
  readonly apiServer: { readonly node: string; readonly port: number } | undefined;
  /** What Linux must have; undefined: IPVS, dummy and IPIP, as an agent with all plugins needs. */
  readonly needs: readonly Need[] | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Throws with the place in the file and the reason. `warn` gets what is ignored. */
export function readTopology(value: unknown, warn: (text: string) => void): Topology {
  const top = object(value ?? {}, "topology");
  known(
    top,
    ["flags", "podRoutes", "nodes", "routers", "clients", "manifests", "apiServer", "needs"],
    "topology",
    warn,
  );
  const podRoutes = top.podRoutes ?? "lab";
  if (podRoutes !== "lab" && podRoutes !== "agent") {
    throw new Error(`podRoutes: "${String(podRoutes)}" is neither "lab" nor "agent"`);
  }
  const topology: Topology = {
    flags: texts(top.flags, "flags"),
    podRoutes,
    nodes: list(top.nodes, "nodes").map((item, at) => readNode(item, `nodes[${at}]`, warn)),
    routers: list(top.routers, "routers").map((item, at) =>
      readRouter(item, `routers[${at}]`, warn)
    ),
    clients: list(top.clients, "clients").map((item, at) =>
      readClient(item, `clients[${at}]`, warn)
    ),
    manifests: typeof top.manifests === "string"
      ? [top.manifests]
      : texts(top.manifests, "manifests"),
    apiServer: top.apiServer === undefined ? undefined : readApiServer(top.apiServer, warn),
    needs: top.needs === undefined ? undefined : texts(top.needs, "needs").map((need) => {
      const found = NEEDS.find((known) => known === need);
      if (found === undefined) throw new Error(`needs: "${need}" is none of ${NEEDS.join(", ")}`);
      return found;
    }),
  };
  if (
    topology.apiServer !== undefined &&
    !topology.nodes.some((node) => node.name === topology.apiServer?.node)
  ) {
    throw new Error(`apiServer.node: there is no node "${topology.apiServer.node}"`);
  }
  unique([...topology.nodes, ...topology.routers, ...topology.clients]);
  return topology;
}

function readNode(value: unknown, at: string, warn: (text: string) => void): NodeSpec {
  const node = object(value, at);
  const keys = ["name", "addresses", "podCIDRs", "labels", "annotations", "flags", "agent"];
  known(node, keys, at, warn);
  return {
    name: name(node.name, at),
    addresses: cidrs(node.addresses, `${at}.addresses`, 1),
    podCIDRs: cidrs(node.podCIDRs, `${at}.podCIDRs`, 0),
    labels: textMap(node.labels, `${at}.labels`),
    annotations: textMap(node.annotations, `${at}.annotations`),
    flags: texts(node.flags, `${at}.flags`),
    agent: node.agent !== false,
  };
}

function readRouter(value: unknown, at: string, warn: (text: string) => void): RouterSpec {
  const router = object(value, at);
  known(router, ["name", "addresses", "daemon", "config"], at, warn);
  const daemon = DAEMONS.find((known) => known === router.daemon);
  if (router.daemon !== undefined && daemon === undefined) {
    throw new Error(`${at}.daemon: "${String(router.daemon)}" is none of ${DAEMONS.join(", ")}`);
  }
  if (daemon !== undefined && typeof router.config !== "string") {
    throw new Error(`${at}.config: a router with a daemon needs the daemon's configuration file`);
  }
  return {
    name: name(router.name, at),
    addresses: cidrs(router.addresses, `${at}.addresses`, 1),
    daemon,
    config: typeof router.config === "string" ? router.config : undefined,
  };
}

function readClient(value: unknown, at: string, warn: (text: string) => void): ClientSpec {
  const client = object(value, at);
  known(client, ["name", "addresses", "gateway"], at, warn);
  const gateways = typeof client.gateway === "string"
    ? [client.gateway]
    : texts(client.gateway, `${at}.gateway`);
  for (const gateway of gateways) {
    if (!isAddress(gateway)) throw new Error(`${at}.gateway: "${gateway}" is not an address`);
  }
  return {
    name: name(client.name, at),
    addresses: cidrs(client.addresses, `${at}.addresses`, 1),
    gateways,
  };
}

function readApiServer(value: unknown, warn: (text: string) => void) {
  const place = object(value, "apiServer");
  known(place, ["node", "port"], "apiServer", warn);
  const port = place.port ?? 6443;
  if (typeof port !== "number") throw new Error(`apiServer.port: "${String(port)}" is no number`);
  return { node: name(place.node, "apiServer.node"), port };
}

function known(
  value: Fields,
  keys: readonly string[],
  at: string,
  warn: (text: string) => void,
): void {
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) {
      warn(`${at}: unknown key "${key}" is ignored; known are ${keys.join(", ")}`);
    }
  }
}

function unique(hosts: readonly { readonly name: string; readonly addresses: readonly Cidr[] }[]) {
  const addresses = new Map<string, string>();
  for (const host of hosts) {
    for (const cidr of host.addresses) {
      const other = addresses.get(addressOf(cidr));
      if (other !== undefined) {
        throw new Error(`Address ${addressOf(cidr)} is given to "${other}" and "${host.name}"`);
      }
      addresses.set(addressOf(cidr), host.name);
    }
  }
}

function cidrs(value: unknown, at: string, least: number): readonly Cidr[] {
  const parsed = texts(value, at).map((text) => {
    try {
      return parseCidr(text);
    } catch (error) {
      throw new Error(`${at}: ${(error as Error).message}`);
    }
  });
  if (parsed.length < least) throw new Error(`${at}: at least one is needed`);
  for (const family of [4, 6]) {
    if (parsed.filter((cidr) => cidr.family === family).length > 1) {
      throw new Error(`${at}: more than one of IPv${family}`);
    }
  }
  return parsed;
}

function name(value: unknown, at: string): string {
  if (typeof value !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(value)) {
    throw new Error(`${at}.name: "${String(value)}" is not a name of letters, digits, ".", "-"`);
  }
  return value;
}

function object(value: unknown, at: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`${at} is not an object`);
  }
  return value as Fields;
}

function list(value: unknown, at: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Error(`${at} is not a list`);
  return value;
}

function texts(value: unknown, at: string): readonly string[] {
  return list(value, at).map((item) => {
    if (typeof item !== "string" && typeof item !== "number" && typeof item !== "boolean") {
      throw new Error(`${at}: ${JSON.stringify(item)} is not a text`);
    }
    return String(item);
  });
}

function textMap(value: unknown, at: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  return Object.fromEntries(
    Object.entries(object(value, at)).map(([key, item]) => [key, String(item)]),
  );
}
