/**
 * The short cut of clients inside the cluster (S8). Under `externalTrafficPolicy: Local` they get all endpoints of a load
 * balancer IP, an external IP or a NodePort, as if they had gone out to the balancer and come in at a node that has some.
 *
 * IPVS has one virtual service an address and port, for all clients. So the new connections of this node and of its pods get a
 * firewall mark right before IPVS looks at them, and a second virtual service, by that mark, has all endpoints. The mark
 * leads nowhere: no routing rule asks for it, and what follows the first packet finds its connection without it. Pure.
 */

import { type Family, ipFamily } from "../../kernel/ip.ts";
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
} from "../../kernel/plugin.ts";
import type { Endpoint } from "./endpoints.ts";
import type { MarkedService } from "./dsr.ts";
import { markKey, type Marks } from "./marks.ts";
import type { NodeFamily } from "./node.ts";
import type { Scheduling } from "./scheduler.ts";
import type { Frontend, ServicePlan } from "./service-plan.ts";
import { drainingOf, markedDestinations, maySeeDraining } from "./services.ts";

export const INSIDE_CHAIN = "KUBE-ROUTER-SVC-INSIDE";

/**
 * Keeps these marks apart from those of direct server return (1 to 0x3FFF), and from the bits that kube-proxy (0x4000, 0x8000)
 * and policies (0x10000 to 0x80000) ask for. The lower 14 bits tell one from another.
 */
export const INSIDE_BIT = 0x1000000;

/** A frontend that clients inside reach by a mark. */
export interface InsideFrontend {
  readonly mark: number;
  readonly family: Family;
  readonly address: string;
  readonly protocol: IpvsProtocol;
  readonly port: number;
}

/** Frontends of one Service that clients inside reach by a mark, by the key of the frontend's `IpvsServiceId`. */
export type InsideMarks = ReadonlyMap<string, InsideFrontend>;

/** Whether a mark is one of these. */
export function isInside(mark: number): boolean {
  return (mark & INSIDE_BIT) !== 0;
}

/** The frontends whose policy keeps clients outside, and them alone, to this node's endpoints. */
export function splitFrontends({ frontends }: ServicePlan): readonly Frontend[] {
  return frontends.filter(isSplit);
}

function isSplit({ inside }: Frontend): boolean {
  return inside !== undefined;
}

/** What the frontends of one Service have of marks; where these ran out, after 16,383, the rest is served without. */
export function insideMarks(
  frontends: readonly Frontend[],
  marks: Pick<Marks, "get">,
): InsideMarks {
  return new Map(frontends.flatMap(({ id, address, protocol, port }) => {
    const mark = marks.get(markKey({ address, protocol, port }));
    if (mark === undefined) return [];
    const family = ipFamily(address) ?? 4;
    return [[id.key, { mark: mark | INSIDE_BIT, family, address, protocol, port }]];
  }));
}

/** Marks of a Service without those of frontends that are reached by direct server return, which has its own. */
export function withoutDsr(marks: InsideMarks, dsr: MarkedService | undefined): InsideMarks {
  if (dsr === undefined || marks.size === 0) return marks;
  return new Map([...marks].filter(([key]) => !dsr.frontends.has(key)));
}

/** What to say of a Service for which no mark is left; undefined where it has all that it needs. */
export function lackOfMarks(plan: ServicePlan, marks: InsideMarks): string | undefined {
  return plan.frontends.some(isSplit) ? lackOf(splitFrontends(plan), marks) : undefined;
}

function lackOf(frontends: readonly Frontend[], marks: InsideMarks): string | undefined {
  const without = frontends.filter(({ id }) => !marks.has(id.key));
  if (without.length === 0) return undefined;
  const names = without.map(({ address, protocol, port }) => `${protocol} ${address} ${port}`);
  return `Clients inside the cluster get this node's endpoints alone at "${
    names.join(", ")
  }", since all firewall marks are ` +
    "in use; have fewer Services with externalTrafficPolicy: Local";
}

/** Virtual services and their destinations. */
interface MarkItems {
  readonly services: readonly IpvsService[];
  readonly destinations: readonly IpvsDestination[];
}

const NO_ITEMS: MarkItems = { services: [], destinations: [] };

/** The virtual services of clients inside, and their destinations. */
export function insideItems(
  plan: ServicePlan,
  slices: readonly EndpointSlice[],
  marks: InsideMarks,
  graceful: boolean,
): MarkItems {
  return marks.size === 0 ? NO_ITEMS : itemsByMark(plan, slices, marks, graceful);
}

function itemsByMark(
  plan: ServicePlan,
  slices: readonly EndpointSlice[],
  marks: InsideMarks,
  graceful: boolean,
): MarkItems {
  const services: IpvsService[] = [];
  const destinations: IpvsDestination[] = [];
  const draining = !graceful && maySeeDraining(plan, slices);
  for (const front of plan.frontends) {
    const marked = marks.get(front.id.key);
    const { inside = [] } = front;
    if (marked === undefined || inside.length === 0) continue;
    const id = ipvsFwmarkId(front.family, marked.mark);
    services.push({ id, ...schedulingInside(plan, front.port, inside) });
    const ending = draining
      ? drainingOf(plan, { ...front, scope: "cluster", endpoints: inside }, slices)
      : [];
    destinations.push(...markedDestinations(id, inside, ending));
  }
  return { services, destinations };
}

/**
 * Linux does not change the port of what is affine to a destination by a mark (`ip_vs_sched_persist`: it compares the packet's
 * port with the service's, which is 0). Where ports differ, Maglev hashing by the client's address keeps a client with its
 * endpoint instead, and moves few of them when endpoints change.
 */
function schedulingInside(
  { scheduler, schedulerFlags, persistence }: Scheduling & Pick<ServicePlan, "persistence">,
  port: number,
  endpoints: readonly Endpoint[],
): Pick<IpvsService, "scheduler" | "schedulerFlags" | "persistence"> {
  return persistence === 0 || endpoints.every((endpoint) => endpoint.port === port)
    ? { scheduler, schedulerFlags, persistence }
    : { scheduler: "mh", schedulerFlags: 0, persistence: 0 };
}

/** Rules that mark, one for each frontend; only new connections to one of them come here. */
function markRules(family: Family, marks: readonly InsideFrontend[]): readonly FilterRule[] {
  return marks.filter((each) => each.family === family).map(
    ({ mark, address, protocol, port }): FilterRule => ({
      matches: [
        { kind: "destination", prefix: `${address}/${family === 4 ? 32 : 128}` },
        { kind: "protocol", protocol },
        { kind: "ports", side: "destination", ports: String(port) },
      ],
      target: { kind: "mark", set: mark },
    }),
  );
}

/**
 * The chains that mark: in mangle OUTPUT for the node's own packets, which IPVS takes behind it; for pods in filter INPUT,
 * right before IPVS, where no mark of others comes between. None where no frontend needs them.
 *
 * @param toInside asks whether a packet is for such a frontend
 */
export function insideChains(
  { family }: NodeFamily,
  marks: readonly InsideFrontend[],
  toInside: Match,
): { readonly chains: readonly Chain[]; readonly jumps: readonly Jump[] } {
  const rules = markRules(family, marks);
  if (rules.length === 0) return { chains: [], jumps: [] };
  return {
    chains: (["filter", "mangle"] as const).map((table) => ({
      family,
      table,
      name: INSIDE_CHAIN,
      rules,
    })),
    jumps: [{
      family,
      table: "mangle",
      from: "OUTPUT",
      to: INSIDE_CHAIN,
      matches: [toInside, { kind: "state", states: ["new"] }],
      comment: "clients inside the cluster get all endpoints",
    }],
  };
}

/** The rules of the verdicts' chain that let pods of this node take the short cut, past what is for clients outside alone. */
export function insideVerdicts(
  { podCIDRs }: NodeFamily,
  toInside: Match,
): readonly FilterRule[] {
  const mark: Match = { kind: "mark", mark: INSIDE_BIT, mask: INSIDE_BIT };
  return podCIDRs.length === 0 ? [] : [
    ...podCIDRs.map((prefix): FilterRule => ({
      matches: [toInside, { kind: "source", prefix }],
      target: { kind: "jump", chain: INSIDE_CHAIN },
      comment: "clients inside the cluster get all endpoints",
    })),
    { matches: [toInside, mark], target: { kind: "return" }, comment: "clients inside" },
  ];
}
