/** What plugins ask the router to announce: whether it can, the routes that come of it, and what to say of each. */

import { canonicalIp, contains, type Family, ipFamily, parseCidr } from "../../kernel/ip.ts";
import type {
  Advertisement,
  AdvertisementRequests,
  Input,
  RequestedAdvertisement,
} from "../../kernel/plugin.ts";
import { checkRoute } from "./bgp/config.ts";
import type { LocalRoute } from "./bgp/mod.ts";
import { parseLargeCommunity } from "./bgp/wire/communities.ts";
import { PLUGIN_CLASS } from "./speaker-config.ts";

/** This node's address of each family. */
type NextHops = { readonly 4?: string; readonly 6?: string };

/** Routes that plugins ask for. */
export interface Requests {
  prefixes(): Iterable<string>;
  /** Undefined: nobody asks for it, or the node has no address of its family. */
  route(prefix: string, nextHops: NextHops): LocalRoute | undefined;
}

export const NO_REQUESTS: Requests = { prefixes: () => [], route: () => undefined };

const MAX_UINT32 = 0xffff_ffff;
/** Networks that are no one's to announce: this host (RFC 1122), link-local, multicast. */
const UNROUTED = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127"]
  .concat(["fe80::/10", "ff00::/8"]).flatMap((text) => parseCidr(text) ?? []);

/** Why the router cannot announce something; undefined where it can. It comes from a third party: it may be anything. */
export function advertisementRefusal(asked: Advertisement): string | undefined {
  const { prefix, nextHop, communities = [], localPreference, med } = asked;
  const cidr = typeof prefix === "string" ? parseCidr(prefix) : undefined;
  if (cidr === undefined) return "it is no network in CIDR notation, such as 192.0.2.0/24";
  if (canonicalIp(prefix.slice(0, prefix.indexOf("/"))) !== cidr.address) {
    return `"${prefix}" has bits behind its length; write ${cidr.text}`;
  }
  if (cidr.prefix === 0) return "a default route would draw all traffic; name smaller networks";
  const unrouted = UNROUTED.find((network) =>
    network.prefix <= cidr.prefix && contains(network, cidr.address)
  );
  if (unrouted !== undefined) return `nobody routes what is in ${unrouted.text}; take another one`;
  if (nextHop !== undefined && (typeof nextHop !== "string" || !serves(nextHop, cidr.family))) {
    return `its next hop "${nextHop}" is no IPv${cidr.family} address; correct it or leave it out`;
  }
  for (const [name, value] of Object.entries({ localPreference, med })) {
    if (value === undefined) continue;
    if (!Number.isInteger(value) || value < 0 || value > MAX_UINT32) {
      return `its ${name} cannot be ${JSON.stringify(value)}; allowed are 0 to ${MAX_UINT32}`;
    }
  }
  if (!Array.isArray(communities) || communities.some((each) => typeof each !== "string")) {
    return "its communities are no list of texts";
  }
  try {
    checkRoute(routeOf(cidr.text, asked, {}));
    return undefined;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return error.message.replace(/^Route "[^"]*" has/, "it has");
  }
}

function serves(nextHop: string, family: Family): boolean {
  return ipFamily(nextHop) === family && canonicalIp(nextHop) !== undefined;
}

function routeOf(
  prefix: string,
  { nextHop, communities = [], localPreference, med }: Advertisement,
  nextHops: NextHops,
): LocalRoute {
  const large = communities.filter((text) => parseLargeCommunity(text) !== undefined);
  const plain = communities.filter((text) => !large.includes(text));
  const hop = nextHop === undefined ? nextHops[prefix.includes(":") ? 6 : 4] : canonicalIp(nextHop);
  return {
    prefix,
    ...(hop === undefined ? {} : { nextHop: hop }),
    class: PLUGIN_CLASS,
    origin: "igp",
    ...(plain.length === 0 ? {} : { communities: plain }),
    ...(large.length === 0 ? {} : { largeCommunities: large }),
    ...(localPreference === undefined ? {} : { localPref: localPreference }),
    ...(med === undefined ? {} : { med }),
  };
}

/** @param familyOn whether the router serves a family */
export function requestedRoutes(
  requests: AdvertisementRequests | undefined,
  familyOn: (family: Family) => boolean,
): Requests {
  if (requests === undefined) return NO_REQUESTS;
  return {
    prefixes: requests.prefixes,
    route(prefix, nextHops) {
      const [first] = requests.of(prefix);
      if (first === undefined || !familyOn(familyOf(prefix))) return undefined;
      const route = routeOf(prefix, first.advertisement, nextHops);
      return route.nextHop === undefined ? undefined : route;
    },
  };
}

/** What keeps a prefix that plugins ask for from being announced, by the plugin that is told of. */
export function requestProblems(
  prefix: string,
  [first]: readonly RequestedAdvertisement[],
  familyOn: (family: Family) => boolean,
  nextHops: NextHops,
): readonly string[] {
  if (first === undefined) return [];
  const family = familyOf(prefix);
  const withheld = !familyOn(family)
    ? `IPv${family} is off; give --enable-ipv${family}`
    : first.advertisement.nextHop === undefined && nextHops[family] === undefined
    ? `this node has no IPv${family} address; give the node one, or the advertisement a nextHop`
    : undefined;
  return withheld === undefined
    ? []
    : [`Plugin "${first.plugin}" has ${prefix} announced, and it is not: ${withheld}`];
}

/** What plugins say of a prefix, one text each. */
export function requestTexts(
  prefix: string,
  requests: AdvertisementRequests | undefined,
): readonly string[] {
  return (requests?.of(prefix) ?? []).map(({ plugin }, i) =>
    `Plugin "${plugin}" has it announced${i === 0 ? "" : ", after the first one's attributes"}`
  );
}

/** Requests as an input of a reconciler: each prefix is a unit. */
export function requestsInput(requests: AdvertisementRequests | undefined): Input {
  return {
    name: "advertisements of plugins",
    synced: true,
    subscribe: (wake) => requests?.subscribe(wake) ?? (() => {}),
  };
}

function familyOf(prefix: string): Family {
  return prefix.includes(":") ? 6 : 4;
}
