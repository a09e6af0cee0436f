/**
 * Direct server return: what one Service with `kube-router.io/service.dsr: tunnel` wants of Linux for its external and
 * load balancer IPs. Pure.
 *
 * The node does not have such a VIP as an address: answers of local pods carry it as their source, and Linux drops what
 * comes in with a source of its own. Instead a packet for VIP and port is marked, a rule sends the mark into a table in
 * which everything is local, and IPVS takes it there by its mark. It reaches the pod in IPIP, which has the VIP on its
 * tunnel and answers the client directly.
 */

import { contains, type Family, parseCidr } from "../../kernel/ip.ts";
import {
  type Chain,
  type EndpointSlice,
  type FilterRule,
  type IpvsDestination,
  ipvsFwmarkId,
  type IpvsProtocol,
  type IpvsService,
  type Jump,
  type Match,
  POD_BRIDGE,
  type PodAddress,
  type PodLink,
  type Route,
  type Rule,
  type Service,
  type Sysctl,
} from "../../kernel/plugin.ts";
import { canonicalEndpoint, type Endpoint } from "./endpoints.ts";
import { fnv1a32 } from "./marks.ts";
import type { NodeFamily } from "./node.ts";
import type { Frontend, ServicePlan } from "./service-plan.ts";
import { drainingOf, markedDestinations, maySeeDraining } from "./services.ts";

export const DSR_ANNOTATION = "kube-router.io/service.dsr";

/** Route table `kube-router-dsr` of kube-router, and the priority of the rules that lead there. */
export const DSR_TABLE = 78;
export const DSR_RULE_PRIORITY = 32764;
const CHAIN_PREFIX = "KUBE-ROUTER-DSR-";
const TUNNELS = {
  4: { name: "kube-tunnel-if", type: "ipip" },
  6: { name: "kube-tunnel-v6", type: "ip6tnl" },
} as const;
/** The headers that the tunnel adds, and those before the payload: 20 + 20 + 20 and 40 + 40 + 20 bytes. */
const HEADERS = { 4: 60, 6: 100 } as const;

/** Whether a Service asks for direct server return; any value but "tunnel" is reported and ignored. */
export function wantsDsr({ metadata }: Service, problems?: string[]): boolean {
  const text = metadata.annotations[DSR_ANNOTATION];
  if (text === undefined) return false;
  if (text.trim() === "tunnel") return true;
  problems?.push(
    `Annotation ${DSR_ANNOTATION} is "${text}"; allowed is "tunnel"; it is ignored, and the Service served by NAT`,
  );
  return false;
}

/** A frontend that is reached by a mark, not by an address of the node. */
export interface MarkedFrontend {
  readonly mark: number;
  /** What the mark stands for. */
  readonly address: string;
  readonly protocol: IpvsProtocol;
  readonly port: number;
  /** Whether this Service has the address and port; false: an older one has. */
  readonly held: boolean;
}

/** What the whole cluster says about one Service whose frontends are reached by marks. */
export interface MarkedService {
  /** The Service itself asks for it. False: it shares an address with one that does, and its endpoints are reached by NAT. */
  readonly tunnel: boolean;
  /** By the key of the frontend's `IpvsServiceId`. */
  readonly frontends: ReadonlyMap<string, MarkedFrontend>;
}

/** What direct server return must know of the nodes. */
export interface DsrContext {
  readonly node: string;
  readonly families: readonly NodeFamily[];
  /** Bytes of the MTU of the link with the node's primary address. */
  readonly mtu: Readonly<Partial<Record<Family, number>>>;
  /** Addresses of all nodes, canonical: what runs there has no namespace of its own. */
  readonly nodeAddresses: ReadonlySet<string>;
  /** As {@linkcode ServiceContext} has it. */
  readonly graceful: boolean;
}

export interface DsrItems {
  readonly services: readonly IpvsService[];
  readonly destinations: readonly IpvsDestination[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
  readonly rules: readonly Rule[];
  readonly routes: readonly Route[];
  readonly sysctls: readonly Sysctl[];
  readonly podLinks: readonly PodLink[];
  readonly podAddresses: readonly PodAddress[];
  readonly problems: readonly string[];
}

/** The part of a plan that is served by addresses of the node, as for any Service. */
export function unmarked(plan: ServicePlan, marked: MarkedService | undefined): ServicePlan {
  return marked === undefined ? plan : without(plan, marked);
}

function without(plan: ServicePlan, marked: MarkedService): ServicePlan {
  const gone = plan.frontends.filter(({ id }) => marked.frontends.has(id.key));
  const addresses = new Set(gone.map(({ address }) => address));
  return {
    ...plan,
    frontends: plan.frontends.filter((f) => !gone.includes(f)),
    vips: plan.vips.filter(({ address }) => !addresses.has(address)),
  };
}

/** What the frontends with a mark want. */
export function dsrItems(
  plan: ServicePlan,
  slices: readonly EndpointSlice[],
  { tunnel, frontends: marks }: MarkedService,
  context: DsrContext,
): DsrItems {
  const { scheduler, schedulerFlags, persistence } = plan;
  const services: IpvsService[] = [];
  const destinations: IpvsDestination[] = [];
  const chains: Chain[] = [];
  const jumps: Jump[] = [];
  const rules: Rule[] = [];
  const routes: Route[] = [];
  const sysctls: Sysctl[] = [];
  const pods = new Pods();
  const problems = new Set<string>();
  const held: Held[] = [];
  const draining = !context.graceful && maySeeDraining(plan, slices);
  for (const front of plan.frontends) {
    const marked = marks.get(front.id.key);
    if (marked === undefined) continue;
    const id = ipvsFwmarkId(front.family, marked.mark);
    // The one that does not hold them wants them too, so that the conflict is told by the kernel's own words.
    services.push({ id, scheduler, schedulerFlags, persistence });
    const ending = draining ? drainingOf(plan, front, slices) : [];
    const its = markedDestinations(id, front.endpoints, ending, (endpoint) => {
      const obstacle = tunnel ? obstacleOf(endpoint, front, context) : undefined;
      if (obstacle !== undefined) problems.add(obstacle);
      return tunnel && obstacle === undefined ? "tunnel" : "masq";
    });
    destinations.push(...its);
    if (!marked.held) continue;
    const byNat = its.some(({ method }) => method === "masq");
    const goOn = context.graceful || ending.length > 0;
    held.push({ front, mark: marked.mark, tunnel, byNat, goOn });
    rules.push({
      family: front.family,
      priority: DSR_RULE_PRIORITY,
      mark: marked.mark,
      table: DSR_TABLE,
    });
    if (tunnel) pods.add(front, slices, context);
  }
  const { namespace, name } = plan.service.metadata;
  for (const family of [4, 6] as const) {
    const its = held.filter(({ front }) => front.family === family);
    if (its.length === 0) continue;
    routes.push(everythingLocal(family));
    const chain: Chain = {
      family,
      table: "mangle",
      name: chainName(namespace, name),
      rules: its.flatMap((each) => rulesOf(each, context.mtu[family])),
    };
    chains.push(chain);
    for (const from of ["PREROUTING", "OUTPUT"] as const) {
      const comment = `direct server return of ${namespace}/${name}`;
      jumps.push({ family, table: "mangle", from, to: chain.name, matches: [], comment });
    }
    if (tunnel && family === 4) sysctls.push(...REVERSE_PATH);
  }
  // The table of Maglev is the same on all nodes: a connection that moves to another one goes on, if IPVS lets it begin
  // in the middle.
  if (tunnel && scheduler === "mh" && services.length > 0) {
    sysctls.push({ path: "net/ipv4/vs/sloppy_tcp", value: "1" });
  }
  return {
    services,
    destinations,
    chains,
    jumps,
    rules,
    routes,
    sysctls,
    podLinks: [...pods.links.values()],
    podAddresses: [...pods.addresses.values()],
    problems: [...problems],
  };
}

/** Answers of pods come from an address that is routed elsewhere: strict filters drop them. 0 stays 0. */
const REVERSE_PATH: readonly Sysctl[] = ["all", POD_BRIDGE].map((link) => ({
  path: `net/ipv4/conf/${link}/rp_filter`,
  value: "2",
  onlyFrom: "1",
}));

/** Why an endpoint cannot be reached by a tunnel; it is served by NAT then. */
function obstacleOf(
  { address, port }: Endpoint,
  front: Frontend,
  { nodeAddresses }: DsrContext,
): string | undefined {
  if (nodeAddresses.has(address)) {
    return `Endpoint "${address}" is on its node's own network (hostNetwork), which cannot have a tunnel for direct ` +
      "server return; it is served by NAT, run its pod in a network of its own";
  }
  if (port !== front.port) {
    return `Port ${front.port} has target port ${port}, and direct server return cannot change ports; it is served by ` +
      `NAT, make port and targetPort equal`;
  }
  return undefined;
}

/** At most 28 characters. */
function chainName(namespace: string, name: string): string {
  const hash = fnv1a32(`${namespace}/${name}`).toString(16).padStart(8, "0");
  return `${CHAIN_PREFIX}${hash.toUpperCase()}`;
}

/** A frontend whose address and port this Service has. */
interface Held {
  readonly front: Frontend;
  readonly mark: number;
  readonly tunnel: boolean;
  /** Some of its endpoints are reached by NAT. */
  readonly byNat: boolean;
  /** Connections may go on where no new ones are taken. */
  readonly goOn: boolean;
}

function rulesOf(
  { front, mark, tunnel, byNat, goOn }: Held,
  mtu: number | undefined,
): readonly FilterRule[] {
  const { family, address, port, protocol, verdict } = front;
  const prefix = `${address}/${family === 4 ? 32 : 128}`;
  const isProtocol: Match = { kind: "protocol", protocol };
  const ports = String(port);
  const toFront: readonly Match[] = [
    { kind: "destination", prefix },
    isProtocol,
    { kind: "ports", side: "destination", ports },
  ];
  const rules: FilterRule[] = [];
  // Endpoints on other nodes alone, under a Local policy: silence, so that a load balancer tries another node.
  if (verdict === "drop") {
    const isNew: readonly Match[] = goOn ? [{ kind: "state", states: ["new"] }] : [];
    rules.push({ matches: [...toFront, ...isNew], target: { kind: "drop" } });
  }
  if (verdict !== "drop" || goOn) {
    rules.push({ matches: toFront, target: { kind: "mark", set: mark } });
  }
  if (byNat) {
    // Linux looks for the way to the endpoint again after NAT, and the mark would lead it back here.
    rules.push({
      matches: [isProtocol, { kind: "mark", mark }, { kind: "destination", prefix, negate: true }],
      target: { kind: "mark", set: 0 },
      comment: "on its way to an endpoint",
    });
  }
  if (tunnel && protocol === "tcp" && mtu !== undefined) {
    rules.push({
      matches: [
        { kind: "source", prefix },
        isProtocol,
        { kind: "ports", side: "source", ports },
        { kind: "input", link: POD_BRIDGE },
        { kind: "tcpFlags", mask: "SYN,RST", set: "SYN" },
      ],
      target: { kind: "tcpmss", mss: mtu - HEADERS[family] },
      comment: "room for the tunnel's header",
    });
  }
  return rules;
}

/** Delivers every address to this node: only what carries one of our marks gets here. */
function everythingLocal(family: Family): Route {
  return {
    family,
    table: DSR_TABLE,
    type: "local",
    destination: family === 4 ? "0.0.0.0/0" : "::/0",
    metric: family === 4 ? 0 : 1024,
    nextHops: [{ link: "lo" }],
  };
}

/** What a pod needs to answer for a VIP. */
export function podItems(
  pod: string,
  family: Family,
  vip: string,
): { readonly link: PodLink; readonly address: PodAddress } {
  const { name, type } = TUNNELS[family];
  const filter = family === 4 ? { reversePath: "loose" } as const : {};
  const prefix = family === 4 ? 32 : 128;
  return {
    link: { pod, name, type, up: true, ...filter },
    address: { pod, link: name, family, address: vip, prefix },
  };
}

/** Tunnels and VIPs in this node's pods, each once. */
class Pods {
  readonly links = new Map<string, PodLink>();
  readonly addresses = new Map<string, PodAddress>();

  /**
   * Prepares the pods behind a frontend, whether they are ready or not: a pod must have its VIP before the first
   * connection and keep it until the last one.
   */
  add(front: Frontend, slices: readonly EndpointSlice[], context: DsrContext): void {
    const { family, portName, protocol, port, address: vip } = front;
    for (const slice of slices) {
      const serves = slice.ports.some((p) =>
        p.name === portName && p.protocol.toLowerCase() === protocol && p.port === port
      );
      if (!serves || slice.addressType !== (family === 4 ? "IPv4" : "IPv6")) continue;
      for (const endpoint of slice.endpoints) {
        const pod = canonicalEndpoint(endpoint, family);
        if (pod === undefined || context.nodeAddresses.has(pod)) continue;
        if (!isLocal(pod, endpoint.nodeName, family, context)) continue;
        const items = podItems(pod, family, vip);
        this.links.set(pod, items.link);
        this.addresses.set(`${pod} ${vip}`, items.address);
      }
    }
  }
}

/** By the node's name, not by its address (trap T27); where an endpoint names none, by this node's pod CIDRs. */
function isLocal(
  pod: string,
  nodeName: string | undefined,
  family: Family,
  { node, families }: DsrContext,
): boolean {
  if (nodeName !== undefined) return nodeName === node;
  const own = families.find((f) => f.family === family)?.podCIDRs ?? [];
  return own.some((text) => {
    const range = parseCidr(text);
    return range !== undefined && contains(range, pod);
  });
}
