/** The service proxy: Services in IPVS. Pure functions beside this file say what; this file says when. */

import { contains, parseCidr } from "../../kernel/ip.ts";
import type {
  EndpointSlice,
  HostAddress,
  Plugin,
  PluginContext,
  Service,
} from "../../kernel/plugin.ts";
import { dsrItems, unmarked, wantsDsr } from "./dsr.ts";
import { dsrAddresses, dsrInput, indexDsr } from "./dsr-input.ts";
import { externalRanges } from "./external-ranges.ts";
import { masquerade, rangeRoutes, sysctls, timeouts, vipLink } from "./foundation.ts";
import { healthCheckOf } from "./health-check.ts";
import { derive, tally } from "./inputs.ts";
import { serviceMetrics } from "./metrics.ts";
import { nodeFacts } from "./node.ts";
import { parseOptions, type ProxyOptions } from "./options.ts";
import { isProxied, planService, type ServiceContext } from "./service-plan.ts";
import { itemsOf } from "./services.ts";
import { bindRanges, externalCount, type RoutedKinds, routedKinds } from "./vip-binding.ts";

/** The index of slices by the Service that they belong to, "namespace/name". */
const BY_SERVICE = "service";

const proxy: Plugin<ProxyOptions> = {
  name: "proxy",
  api: 1,
  watches: [{ kind: "services" }, { kind: "endpointslices" }, { kind: "nodes" }],
  tables: [
    "links",
    "sysctls",
    "addresses",
    "routes",
    "rules",
    "podLinks",
    "podAddresses",
    "chains",
    "jumps",
    "ipvsServices",
    "ipvsDestinations",
    "healthChecks",
    "ipvsTimeouts",
  ],
  parse: parseOptions,
  setup,
};
export default proxy;

function setup(context: PluginContext<ProxyOptions>): void {
  serviceMetrics(context);
  const { host, input, node, options, reconcile, stores, tables } = context;
  const { services, endpointslices } = stores;
  endpointslices.addIndex(BY_SERVICE, (slice) => serviceKeys(slice));
  indexDsr(services);

  const servicesChanged = input(services, (service) => [serviceKey(service)]);
  const ranges = externalRanges(options);
  const excluded = options.excludedCidrs.flatMap((text) => parseCidr(text) ?? []);
  // The host's own addresses are watched only where something depends on them.
  const watchesHost = options.nodeportBindonAllIp || options.vipBinding === "route" ||
    !ranges.strict || ranges.external.length + ranges.loadBalancer.length > 0;
  const sources = [input(stores.nodes, () => "all"), ...(watchesHost ? [host] : [])];
  const facts = derive("nodes", sources, () => ({
    ...nodeFacts(node, [...stores.nodes.values()], host.values(), options, ranges),
    extraNodeAddresses: options.nodeportBindonAllIp ? nodePortAddresses(host.values()) : [],
  }));

  const external = tally(services, externalCount);
  let kinds: RoutedKinds | undefined;
  const binding = derive("VIP binding", [servicesChanged], () => {
    const counts = { cluster: services.size, external: external() };
    return kinds = routedKinds(options.vipBinding, counts, kinds);
  });
  const direct = derive("direct server return", [servicesChanged], () => dsrAddresses(services));
  const shared = derive("node", [facts, binding, direct], () => {
    const { obstacles, ...known } = facts.value;
    const { routed, problems } = bindRanges(
      ranges,
      binding.value,
      (range) =>
        obstacles[range.text] ?? direct.value.filter((each) => contains(range, each))
          .map((each) => `direct server return of "${each}"`)[0],
    );
    const context: ServiceContext = { node, ...known, ranges, excluded, routedRanges: routed };
    return { context, problems };
  });

  // The older Service wins an address and port that two of them want.
  const rank = (unit: string): string =>
    `${services.get(unit)?.metadata.creationTimestamp ?? "9999"} ${unit}`;
  const dsr = dsrInput({
    services,
    nodes: stores.nodes,
    host,
    shared,
    input,
    rank: (service) => rank(serviceKey(service)),
  });

  reconcile({
    name: "node",
    inputs: [shared],
    units: () => [""],
    desired(_unit, { want, report }) {
      const { context: { families, routedRanges }, problems } = shared.value;
      for (const problem of problems) report(problem);
      if (families.length === 0) {
        report(
          `Node "${node}" has no address of an enabled family in status.addresses; no Service can be served ` +
            "until it has one, or --hostname-override names another Node",
        );
      }
      want(tables.links, vipLink);
      for (const sysctl of sysctls(families)) want(tables.sysctls, sysctl);
      for (const timeout of timeouts(options)) want(tables.ipvsTimeouts, timeout);
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
      dsr,
    ],
    *units() {
      for (const service of services.values()) yield serviceKey(service);
    },
    rank,
    desired(unit, { want, report }) {
      const service = services.get(unit);
      if (service === undefined) return;
      const slices = endpointslices.by(BY_SERVICE, unit);
      const plan = planService(service, slices, shared.value.context);
      const marked = dsr.of(unit);
      const items = itemsOf(unmarked(plan, marked), shared.value.context);
      const problems = [...items.problems];
      wantsDsr(service, problems);
      for (const problem of problems) report(problem);
      for (const item of items.addresses) want(tables.addresses, item);
      for (const item of items.routes) want(tables.routes, item);
      for (const item of items.services) want(tables.ipvsServices, item);
      for (const item of items.destinations) want(tables.ipvsDestinations, item);
      const check = isProxied(service) ? healthCheckOf(service, slices, node) : undefined;
      if (check !== undefined) want(tables.healthChecks, check);
      if (marked === undefined) return;
      const direct = dsrItems(plan, slices, marked, dsr.context);
      for (const problem of direct.problems) report(problem);
      for (const item of direct.sysctls) want(tables.sysctls, item);
      for (const item of direct.routes) want(tables.routes, item);
      for (const item of direct.rules) want(tables.rules, item);
      for (const item of direct.podLinks) want(tables.podLinks, item);
      for (const item of direct.podAddresses) want(tables.podAddresses, item);
      for (const item of direct.chains) want(tables.chains, item);
      for (const item of direct.jumps) want(tables.jumps, item);
      for (const item of direct.services) want(tables.ipvsServices, item);
      for (const item of direct.destinations) want(tables.ipvsDestinations, item);
    },
  });
}

function serviceKey({ metadata }: Service): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function serviceKeys({ metadata, service }: EndpointSlice): readonly string[] {
  return service === undefined ? [] : [`${metadata.namespace}/${service}`];
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
