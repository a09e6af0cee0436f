/**
 * How VIPs become local: an address each on `kube-dummy-if`, or one local route for a whole range. Adding addresses is
 * quadratic in Linux, and a route is one whatever its size. But it makes local all that lies in the range, whether a
 * Service has it or not, and so a range that holds what somebody else has is never routed.
 */

import { type Cidr, contains } from "../../kernel/ip.ts";
import type { Service } from "../../kernel/plugin.ts";
import type { ExternalRanges } from "./external-ranges.ts";
import type { VipBinding } from "./options.ts";

/**
 * Number of VIPs past which `--vip-binding=auto` takes routes: 1,000 addresses take 26 ms, but 5,000 take 330 ms and
 * 10,000 take 1.5 s (measured on the host).
 */
const MANY = 2_000;

/** Which kinds of range are served by routes. */
export interface RoutedKinds {
  readonly cluster: boolean;
  readonly external: boolean;
}

/** Numbers of VIPs, roughly. */
export interface VipCounts {
  readonly cluster: number;
  readonly external: number;
}

/** @param before what was chosen last: half as many VIPs go before addresses come back, so that one Service never flips all */
export function routedKinds(
  binding: VipBinding,
  counts: VipCounts,
  before?: RoutedKinds,
): RoutedKinds {
  const routed = (kind: keyof RoutedKinds): boolean =>
    binding === "route" ||
    (binding === "auto" && counts[kind] > (before?.[kind] === true ? MANY / 2 : MANY));
  return { cluster: routed("cluster"), external: routed("external") };
}

/** External and load balancer IPs that a Service names. */
export function externalCount({ spec, status }: Service): number {
  return spec.externalIPs.length + status.loadBalancer.ingress.length;
}

/** What must not become local with a range. */
export interface Surroundings {
  /** Addresses of this host and of all nodes. */
  readonly addresses: readonly string[];
  /** Pod CIDRs of all nodes, and `--excluded-cidrs`. */
  readonly networks: readonly Cidr[];
}

export interface RangeBinding {
  readonly routed: readonly Cidr[];
  /** Why ranges are not routed that else would be. */
  readonly problems: readonly string[];
}

/** The ranges that are served by a route, without those that hold what is not a VIP. */
export function bindRanges(
  { cluster, external, loadBalancer }: ExternalRanges,
  kinds: RoutedKinds,
  obstacleOf: (range: Cidr) => string | undefined,
): RangeBinding {
  const routed: Cidr[] = [];
  const problems: string[] = [];
  const wanted = [
    ...(kinds.cluster ? cluster : []),
    ...(kinds.external ? [...external, ...loadBalancer] : []),
  ];
  for (const [index, range] of wanted.entries()) {
    if (wanted.findIndex(({ text }) => text === range.text) !== index) continue;
    const obstacle = obstacleOf(range);
    if (obstacle === undefined) routed.push(range);
    else {
      problems.push(
        `Range ${range.text} is not bound as one route, since it holds ${obstacle}; its VIPs are addresses ` +
          "each, narrow the range",
      );
    }
  }
  return { routed, problems };
}

/** What in the surroundings forbids a route for the range, in words. */
export function obstacle(
  range: Cidr,
  { addresses, networks }: Surroundings,
): string | undefined {
  const address = addresses.find((each) => contains(range, each));
  if (address !== undefined) return `${address}, an address of a node`;
  const network = networks.find((each) => overlap(each, range));
  return network === undefined ? undefined : `${network.text}, which is not for VIPs`;
}

function overlap(one: Cidr, other: Cidr): boolean {
  return contains(one, other.address) || contains(other, one.address);
}
