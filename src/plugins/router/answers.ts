/** What `routelet bgp` and the banner of `routelet status` ask the router. */

import { canonicalIp, hostCidr, parseCidr } from "../../kernel/ip.ts";
import type { NeighborView, PathView, Speaker, WhyView } from "./bgp/mod.ts";
import type { PeeringPlan } from "./peering.ts";
import type { RouteItems } from "./routes.ts";

/** The parts of the router that answers are made of. */
export interface Answering {
  speaker(): Speaker | undefined;
  plan(): PeeringPlan | undefined;
  /** Why BGP does not run, one text each. */
  problems(): readonly string[];
  /** What a learned prefix wants of Linux; undefined: nothing was learned. */
  inLinux(prefix: string): RouteItems | undefined;
  /** What the Services say of an address, one text each. */
  vip(address: string): readonly string[];
  /** What plugins say of a prefix, one text each. */
  requested(prefix: string): readonly string[];
  /** The plugins that have a prefix announced. */
  askedBy(prefix: string): readonly string[];
  /** Unix time in ms. */
  now(): number;
}

export interface GlobalAnswer {
  readonly running: boolean;
  readonly asn?: number;
  readonly routerId?: string;
  readonly port?: number;
  readonly addresses?: readonly string[];
  readonly problems: readonly string[];
}

export interface NeighborsAnswer {
  readonly now: number;
  readonly neighbors: readonly NeighborView[];
}

/** A path, and of our own the plugins that have it announced. */
export interface RibPath extends PathView {
  readonly plugins?: readonly string[];
}

export interface RibAnswer {
  readonly now: number;
  readonly which: RibName;
  readonly paths: readonly RibPath[];
  /** There are more than were asked for. */
  readonly more: boolean;
}

export interface WhyAnswer extends WhyView {
  readonly now: number;
  /** What Services say, where it is the address of one. */
  readonly services: readonly string[];
  /** What plugins say that ask for it. */
  readonly plugins: readonly string[];
  /** How it stands in Linux, and why next hops are not used. */
  readonly linux: { readonly routes: readonly string[]; readonly problems: readonly string[] };
}

export type RibName = "in" | "out" | "local";
const RIBS: readonly RibName[] = ["local", "in", "out"];

export function globalAnswer({ speaker, plan, problems }: Answering): GlobalAnswer {
  const found = plan();
  return {
    running: speaker() !== undefined,
    ...(found === undefined ? {} : {
      asn: found.asn,
      routerId: found.routerId,
      port: found.listen.port,
      addresses: found.listen.addresses,
    }),
    problems: problems(),
  };
}

export function neighborsAnswer(router: Answering, query: URLSearchParams): NeighborsAnswer {
  const peer = peerOf(router, query);
  const neighbors = router.speaker()?.neighbors() ?? [];
  return {
    now: router.now(),
    neighbors: neighbors.filter(({ address }) => peer === undefined || address === peer),
  };
}

/**
 * The paths of a table, as many as `most` of the query says.
 *
 * @throws {RangeError} for another table or peer than there is
 */
export function ribAnswer(router: Answering, query: URLSearchParams): RibAnswer {
  const which = RIBS.find((name) => name === (query.get("which") ?? "local"));
  if (which === undefined) {
    throw new RangeError(`There is no RIB "${query.get("which")}"; choose in, out or local`);
  }
  const peer = peerOf(router, query);
  const most = Number(query.get("most") ?? Infinity);
  const paths: RibPath[] = [];
  for (const path of router.speaker()?.rib(which, peer) ?? []) {
    if (paths.length >= most) return { now: router.now(), which, paths, more: true };
    const plugins = path.source === "local" ? router.askedBy(path.prefix) : [];
    paths.push(plugins.length === 0 ? path : { ...path, plugins });
  }
  return { now: router.now(), which, paths, more: false };
}

function peerOf(router: Answering, query: URLSearchParams): string | undefined {
  const text = query.get("peer");
  if (text === null) return undefined;
  const address = canonicalIp(text) ?? text;
  const known = (router.speaker()?.neighbors() ?? []).map((neighbor) => neighbor.address);
  if (!known.includes(address)) {
    throw new RangeError(`There is no peer "${text}"; peers are ${known.join(", ") || "none"}`);
  }
  return address;
}

/** @throws {RangeError} when it is no CIDR and no address, or BGP does not run */
export function whyAnswer(router: Answering, query: URLSearchParams): WhyAnswer {
  const text = query.get("prefix") ?? "";
  const cidr = parseCidr(text) ?? hostCidr(text);
  if (cidr === undefined) throw new RangeError(`"${text}" is no network and no address`);
  const speaker = router.speaker();
  if (speaker === undefined) {
    throw new RangeError(["BGP does not run", ...router.problems()].join(": "));
  }
  const why = speaker.why(cidr.text);
  const items = router.inLinux(why.covering ?? why.prefix);
  const isHost = cidr.prefix === (cidr.family === 4 ? 32 : 128);
  return {
    ...why,
    now: router.now(),
    services: isHost ? router.vip(cidr.address) : [],
    plugins: router.requested(cidr.text),
    linux: {
      routes: (items?.routes ?? []).map(({ destination, nextHops, table }) =>
        `${destination} ${
          nextHops.map(({ gateway, link }) =>
            [
              gateway === undefined ? "" : `via ${gateway} `,
              link === undefined ? "" : `dev ${link}`,
            ]
              .join("")
          ).join(", ")
        } table ${table}`
      ),
      problems: items?.problems ?? [],
    },
  };
}
