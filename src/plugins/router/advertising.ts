/** What of a Service this node announces: the addresses whose traffic it can serve. */

import { canonicalIp, type Cidr, contains, ipFamily, parseCidr } from "../../kernel/ip.ts";
import type { EndpointSlice, Service } from "../../kernel/plugin.ts";
import type { RouterOptions } from "./options.ts";

/** One address to announce. */
export interface Vip {
  readonly address: string;
  /** Only nodes with an endpoint of their own announce it. */
  readonly local: boolean;
}

export interface Withheld {
  readonly address: string;
  readonly reason: string;
  /** The Service, or the flag of its class, wants it announced by no node. */
  readonly refused?: true;
}

export interface ServiceAdvertisement {
  /** Each address once, in the order cluster, external, load balancer. */
  readonly advertise: readonly Vip[];
  /** Addresses that are not announced from here, each with the reason. */
  readonly withheld: readonly Withheld[];
  readonly problems: readonly string[];
}

export interface AdvertisingContext {
  /** Name of this node. */
  readonly node: string;
  /** Its canonical addresses: endpoints without a node are its own where they have one of these. */
  readonly addresses: readonly string[];
  readonly options: Pick<
    RouterOptions,
    | "advertiseClusterIp"
    | "advertiseExternalIp"
    | "advertiseLoadbalancerIp"
    | "serviceClusterIpRange"
    | "serviceExternalIpRange"
    | "loadbalancerIpRange"
    | "strictExternalIpValidation"
    | "enableIpv4"
    | "enableIpv6"
  >;
}

const CLUSTER = "kube-router.io/service.advertise.clusterip";
const EXTERNAL = "kube-router.io/service.advertise.externalip";
const LOAD_BALANCER = "kube-router.io/service.advertise.loadbalancerip";
const SKIP_LB = "kube-router.io/service.skiplbips";
const LOCAL = "kube-router.io/service.local";

const TYPES: readonly string[] = ["ClusterIP", "NodePort", "LoadBalancer"];

/** What one Service has announced. The slices are all those of the Service; none is as good as empty ones. */
export function serviceAdvertisement(
  service: Service,
  slices: readonly EndpointSlice[],
  context: AdvertisingContext,
): ServiceAdvertisement {
  const { spec, status } = service;
  const problems: string[] = [];
  const advertise = new Map<string, Vip>();
  const withheld = new Map<string, Withheld>();
  const clusterIps = spec.clusterIPs.filter((ip) => ip !== "" && ip.toLowerCase() !== "none");
  if (!TYPES.includes(spec.type) || clusterIps.length === 0) {
    return { advertise: [], withheld: [], problems };
  }
  const { options } = context;
  const ranges = {
    cluster: parsed(options.serviceClusterIpRange),
    external: parsed(options.serviceExternalIpRange),
    loadBalancer: parsed(options.loadbalancerIpRange),
  };
  let here: boolean | undefined;
  const hasEndpoint = (): boolean => here ??= hasLocalEndpoint(slices, context);
  const externalLocal = spec.externalTrafficPolicy === "Local" || isLocal(service);
  const skipsLb = SKIP_LB in service.metadata.annotations;

  const classes = [
    {
      addresses: clusterIps,
      annotation: CLUSTER,
      fallback: options.advertiseClusterIp,
      local: spec.internalTrafficPolicy === "Local",
      allowed: undefined,
    },
    {
      addresses: spec.externalIPs,
      annotation: EXTERNAL,
      fallback: options.advertiseExternalIp,
      local: externalLocal,
      allowed: ranges.external,
    },
    {
      addresses: spec.type === "LoadBalancer"
        ? status.loadBalancer.ingress.flatMap(({ ip, ipMode }) =>
          ip === undefined || ipMode === "Proxy" ? [] : [ip]
        )
        : [],
      annotation: LOAD_BALANCER,
      fallback: options.advertiseLoadbalancerIp,
      local: externalLocal,
      allowed: ranges.loadBalancer,
    },
  ] as const;

  for (const { addresses, annotation, fallback, local, allowed } of classes) {
    const on = isAdvertised(service, annotation, fallback, problems);
    for (const text of addresses) {
      const address = canonicalIp(text);
      if (address === undefined || advertise.has(address)) continue;
      const refusal = annotation === LOAD_BALANCER && skipsLb
        ? `annotation ${SKIP_LB} is there`
        : on
        ? undefined
        : `${annotation} or its flag is not set`;
      const reason = outOfRange(address, allowed, ranges.cluster, options) ?? refusal ??
        (familyOn(address, options) ? undefined : `IPv${ipFamily(address)} is off`) ??
        (local && !hasEndpoint()
          ? "its traffic policy is Local, and no endpoint on this node is ready"
          : undefined);
      if (reason !== undefined) {
        if (!withheld.has(address)) {
          const refused = reason === refusal ? { refused: true } as const : {};
          withheld.set(address, { address, reason, ...refused });
        }
        continue;
      }
      withheld.delete(address);
      advertise.set(address, { address, local });
    }
  }
  return {
    advertise: [...advertise.values()],
    withheld: [...withheld.values()],
    problems,
  };
}

/** Go's `strconv.ParseBool`. */
const TRUE: readonly string[] = ["1", "t", "T", "true", "TRUE", "True"];
const FALSE: readonly string[] = ["0", "f", "F", "false", "FALSE", "False"];

/** The annotation, where it is there, else the flag. Anything that is no boolean means false, as in kube-router. */
function isAdvertised(
  { metadata }: Service,
  name: string,
  fallback: boolean,
  problems: string[],
): boolean {
  const text = metadata.annotations[name];
  if (text === undefined) return fallback;
  if (!TRUE.includes(text) && !FALSE.includes(text)) {
    problems.push(
      `Annotation ${name} is "${text}"; allowed are "true" and "false"; it counts as "false"`,
    );
  }
  return TRUE.includes(text);
}

/** As the proxy reads it: a Service that it serves from this node's endpoints alone. */
function isLocal({ metadata }: Service): boolean {
  const value = metadata.annotations[LOCAL]?.trim().toLowerCase();
  return value === "" || value === "true";
}

function familyOn(
  address: string,
  { enableIpv4, enableIpv6 }: AdvertisingContext["options"],
): boolean {
  return ipFamily(address) === 6 ? enableIpv6 : enableIpv4;
}

/**
 * Whether an endpoint of this node is ready. kube-router takes any endpoint of the node, ready or not, and so draws traffic
 * to a node that cannot answer it.
 */
function hasLocalEndpoint(
  slices: readonly EndpointSlice[],
  { node, addresses }: AdvertisingContext,
): boolean {
  return slices.some(({ endpoints }) =>
    endpoints.some((endpoint) => {
      if (endpoint.conditions.ready === false) return false;
      if (endpoint.nodeName !== undefined) return endpoint.nodeName === node;
      return endpoint.addresses.some((text) => addresses.includes(canonicalIp(text) ?? ""));
    })
  );
}

/** Why an external or load balancer address may not be taken: whoever may write a Service could take any (CVE-2020-8554). */
function outOfRange(
  address: string,
  allowed: readonly Cidr[] | undefined,
  cluster: readonly Cidr[],
  { strictExternalIpValidation }: AdvertisingContext["options"],
): string | undefined {
  if (allowed === undefined || !strictExternalIpValidation) return undefined;
  if (cluster.some((range) => contains(range, address))) {
    return "it is inside --service-cluster-ip-range or a ServiceCIDR";
  }
  return allowed.some((range) => contains(range, address))
    ? undefined
    : "it is outside of the ranges that flags allow";
}

function parsed(texts: readonly string[]): readonly Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? []);
}
