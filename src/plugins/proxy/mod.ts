/** The service proxy: Services in IPVS. Pure functions beside this file say what; this file says when. */

import { parseCidr } from "../../kernel/ip.ts";
import type {
  EndpointSlice,
  HostAddress,
  Plugin,
  PluginContext,
  Service,
} from "../../kernel/plugin.ts";
import { externalRanges } from "./external-ranges.ts";
import { masquerade, rangeRoutes, sysctls, vipLink } from "./foundation.ts";
import { derive } from "./inputs.ts";
import { nodeFamilies } from "./node.ts";
import { parseOptions, type ProxyOptions } from "./options.ts";
import { type ServiceContext, serviceItems } from "./services.ts";

/**
 * Number of Services past which `--vip-binding=auto` serves the range by one route: adding addresses is quadratic
 * in Linux, 26 ms for 1,000 but 330 ms for 5,000 and 1.5 s for 10,000 (measured on the host).
 */
const AUTO_ROUTE_SERVICES = 2_000;

/** The index of slices by the Service that they belong to, "namespace/name". */
const BY_SERVICE = "service";

const proxy: Plugin<ProxyOptions> = {
  name: "proxy",
  api: 1,
  watches: [{ kind: "services" }, { kind: "endpointslices" }, { kind: "nodes", only: "self" }],
  tables: [
    "links",
    "sysctls",
    "addresses",
    "routes",
    "bridgeHairpins",
    "ipsets",
    "ipsetMembers",
    "chains",
    "jumps",
    "ipvsServices",
    "ipvsDestinations",
  ],
  parse: parseOptions,
  setup,
};
export default proxy;

function setup(context: PluginContext<ProxyOptions>): void {
  const { host, input, node, options, reconcile, stores, tables } = context;
  const { services, endpointslices } = stores;
  endpointslices.addIndex(BY_SERVICE, (slice) => serviceKeys(slice));

  const servicesChanged = input(services, (service) => [serviceKey(service)]);
  // Other addresses of the host matter, and are watched, only where NodePorts are bound to them.
  const addresses = options.nodeportBindonAllIp ? [host] : [];
  const sources = [input(stores.nodes, () => "all"), servicesChanged, ...addresses];
  const shared = derive("node", sources, (): ServiceContext => {
    const families = nodeFamilies(stores.nodes.get(node), options);
    const ranges = options.serviceClusterIpRange.flatMap((text) => parseCidr(text) ?? []);
    return {
      node,
      families,
      routedRanges: routesRanges(options, services.size) ? ranges : [],
      extraNodeAddresses: options.nodeportBindonAllIp ? nodePortAddresses(host.values()) : [],
      ranges: externalRanges(options),
      excluded: options.excludedCidrs.flatMap((text) => parseCidr(text) ?? []),
      ownAddresses: [],
      otherNodes: [],
    };
  });

  reconcile({
    name: "node",
    inputs: [shared],
    units: () => [""],
    desired(_unit, { want, report }) {
      const { families, routedRanges } = shared.value;
      if (families.length === 0) {
        report(
          `Node "${node}" has no address of an enabled family in status.addresses; no Service can be served ` +
            "until it has one, or --hostname-override names another Node",
        );
      }
      want(tables.links, vipLink);
      for (const sysctl of sysctls(families)) want(tables.sysctls, sysctl);
      for (const route of rangeRoutes(routedRanges, families)) want(tables.routes, route);
      for (const family of families) {
        const { chain, jump } = masquerade(family, options.masqueradeAll);
        want(tables.chains, chain);
        want(tables.jumps, jump);
      }
    },
  });

  reconcile({
    name: "service",
    inputs: [
      servicesChanged,
      input(endpointslices, (slice) => serviceKeys(slice)),
      shared,
    ],
    *units() {
      for (const service of services.values()) yield serviceKey(service);
    },
    // The older Service wins an address and port that two of them want.
    rank: (unit) => `${services.get(unit)?.metadata.creationTimestamp ?? "9999"} ${unit}`,
    desired(unit, { want, report }) {
      const service = services.get(unit);
      if (service === undefined) return;
      const slices = endpointslices.by(BY_SERVICE, unit);
      const items = serviceItems(service, slices, shared.value);
      for (const problem of items.problems) report(problem);
      for (const item of items.addresses) want(tables.addresses, item);
      for (const item of items.routes) want(tables.routes, item);
      for (const item of items.services) want(tables.ipvsServices, item);
      for (const item of items.destinations) want(tables.ipvsDestinations, item);
    },
  });
}

function serviceKey({ metadata }: Service): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function serviceKeys({ metadata, service }: EndpointSlice): readonly string[] {
  return service === undefined ? [] : [`${metadata.namespace}/${service}`];
}

function routesRanges({ vipBinding }: ProxyOptions, serviceCount: number): boolean {
  return vipBinding === "route" ||
    (vipBinding === "auto" && serviceCount > AUTO_ROUTE_SERVICES);
}

/**
 * Addresses of the host for `--nodeport-bindon-all-ip`: not those of links that carry VIPs, pods or containers, and,
 * unlike kube-router, neither loopback nor link-local ones, which no client outside can reach (trap T20).
 */
function nodePortAddresses(all: readonly HostAddress[]): readonly HostAddress[] {
  return all.filter(({ link, address }) =>
    !/dummy|kube|docker/.test(link) && link !== "lo" && !address.startsWith("127.") &&
    address !== "::1" && !/^fe[89ab]/.test(address)
  ).toSorted((a, b) => a.address < b.address ? -1 : 1);
}
