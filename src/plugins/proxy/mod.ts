/** The service proxy: Services in IPVS. Pure functions beside this file say what; this file says when. */

import { release } from "node:os";
import { contains, type Family, parseCidr } from "../../kernel/ip.ts";
import {
  derive,
  type EndpointSlice,
  type HostAddress,
  type IpvsService,
  type IpvsServiceId,
  type Plugin,
  type PluginContext,
  serviceRangeProblems,
  serviceRanges,
  type TableRef,
} from "../../kernel/plugin.ts";
import { podAddresses, retirementOf } from "./draining.ts";
import { DSR_TABLE, dsrItems, podItems, unmarked, wantsDsr } from "./dsr.ts";
import { dsrAddresses, dsrInput, indexDsr } from "./dsr-input.ts";
import { externalRanges } from "./external-ranges.ts";
import { reconcileFirewall, reconcileHairpin } from "./firewall.ts";
import { insideItems, isInside, lackOfMarks, withoutDsr } from "./inside.ts";
import { insideInput } from "./inside-input.ts";
import { masquerade, rangeRoutes, sysctls, timeouts, vipLink } from "./foundation.ts";
import { healthCheckOf } from "./health-check.ts";
import { tally } from "./inputs.ts";
import { serviceMetrics } from "./metrics.ts";
import { nodeFacts, ownNode } from "./node.ts";
import { answerQuestions } from "./questions.ts";
import { parseOptions, type ProxyOptions } from "./options.ts";
import { drainingMembers, firewallMembers, othersMembers } from "./service-firewall.ts";
import { serviceKey } from "./service-names.ts";
import { isProxied, planService, type ServiceContext, type ServicePlan } from "./service-plan.ts";
import { itemsOf, vipItems } from "./services.ts";
import { bindRanges, externalCount, type RoutedKinds, routedKinds } from "./vip-binding.ts";

/** The index of slices by the Service that they belong to, "namespace/name". */
const BY_SERVICE = "service";
const BY_ADDRESS = "address";
/** RTPROT_BOOT: what is made without a number. */
const RTPROT_BOOT = 3;

const proxy: Plugin<ProxyOptions> = {
  name: "proxy",
  api: 1,
  watches: ({ ipvsGracefulTermination }) => [
    { kind: "services" },
    { kind: "endpointslices" },
    { kind: "nodes" },
    { kind: "servicecidrs" },
    // Their grace periods. 100,000 pods take memory: only where somebody asks for it.
    ...(ipvsGracefulTermination ? [{ kind: "pods" } as const] : []),
  ],
  tables: [
    "links",
    "sysctls",
    "addresses",
    "routes",
    "bridgeHairpins",
    "ipsets",
    "ipsetMembers",
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
  // kube-router's way of marked packets to this node, which it makes without a protocol of its own.
  adopts: { routes: [{ protocol: RTPROT_BOOT, table: DSR_TABLE }] },
  parse: parseOptions,
  setup,
};
export default proxy;

function setup(context: PluginContext<ProxyOptions>): void {
  const { holder, host, input, node, options, reconcile, retire, stores, tables } = context;
  const { services, endpointslices } = stores;
  endpointslices.addIndex(BY_SERVICE, (slice) => serviceKeys(slice));
  indexDsr(services);

  const servicesChanged = input(services, (service) => [serviceKey(service)]);
  const ranges = derive("service ranges", [input(stores.servicecidrs, () => "all")], () => {
    const objects = [...stores.servicecidrs.values()];
    return {
      ...externalRanges(options, serviceRanges(options.serviceClusterIpRange, objects)),
      problems: serviceRangeProblems(objects),
    };
  });
  const excluded = options.excludedCidrs.flatMap((text) => parseCidr(text) ?? []);
  // The host's own addresses are watched only where something depends on them.
  const watchesHost = options.nodeportBindonAllIp || options.vipBinding === "route" ||
    !ranges.value.strict || ranges.value.external.length + ranges.value.loadBalancer.length > 0;
  const sources = [input(stores.nodes, () => "all"), ranges, ...(watchesHost ? [host] : [])];
  const own = ownNode(node, options);
  const facts = derive(
    "nodes",
    sources,
    () => {
      const nodes = [...stores.nodes.values()];
      const self = own(nodes);
      return {
        problems: self.problems,
        known: {
          ...nodeFacts(self.node, nodes, host.values(), options, ranges.value),
          extraNodeAddresses: options.nodeportBindonAllIp ? nodePortAddresses(host.values()) : [],
        },
      };
    },
    // Without an address of the node nothing can be served: before the first one Linux stays as it is.
    {
      missing: ({ known, problems }) => known.families.length === 0 ? problems[0] : undefined,
    },
  );
  const nodeProblems = derive("the node's problems", [facts], () => facts.value.problems);

  const external = tally(services, externalCount);
  let kinds: RoutedKinds | undefined;
  const binding = derive("VIP binding", [servicesChanged], () => {
    const counts = { cluster: services.size, external: external() };
    return kinds = routedKinds(options.vipBinding, counts, kinds);
  });
  const direct = derive("direct server return", [servicesChanged], () => dsrAddresses(services));
  const shared = derive("node", [facts, binding, direct, ranges], () => {
    const { obstacles, ...known } = facts.value.known;
    const { routed, problems } = bindRanges(
      ranges.value,
      binding.value,
      (range) =>
        obstacles[range.text] ?? direct.value.filter((each) => contains(range, each))
          .map((each) => `direct server return of "${each}"`)[0],
    );
    const context: ServiceContext = {
      node,
      ...known,
      ranges: ranges.value,
      excluded,
      routedRanges: routed,
      graceful: options.ipvsGracefulTermination,
    };
    return { context, problems: [...ranges.value.problems, ...problems] };
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
  const inside = insideInput({ services, shared, input, rank });
  const behind = (unit: string, mark: number, family: Family) =>
    isInside(mark) ? inside.behind(mark, family) : dsr.behind(unit, mark, family);
  serviceMetrics(context, behind);
  if (options.ipvsGracefulTermination) {
    const { pods } = stores;
    pods.addIndex(BY_ADDRESS, podAddresses);
    const front = ({ key, fwmark, family }: IpvsServiceId) => {
      if (isInside(fwmark)) return inside.behind(fwmark, family);
      const unit = holder(tables.ipvsServices, key);
      return unit === undefined ? undefined : dsr.behind(unit, fwmark, family);
    };
    retire(
      tables.ipvsDestinations,
      (destination, service) =>
        retirementOf(destination, service as IpvsService | undefined, {
          gracePeriod: options.ipvsGracefulPeriod,
          podsAt: (address) => pods.by(BY_ADDRESS, address),
          behind: (service) => front(service)?.protocol,
          needs({ service, address: pod }) {
            const { family, fwmark } = service;
            const wishes = <T>(table: TableRef<T>, ...items: readonly T[]) =>
              items.map((item) => ({ table: table as TableRef<unknown>, item }));
            if (fwmark !== 0 && !isInside(fwmark)) {
              const vip = front(service)?.address;
              if (vip === undefined) return [];
              const inPod = podItems(pod, family, vip);
              return [
                ...wishes(tables.podLinks, inPod.link),
                ...wishes(tables.podAddresses, inPod.address),
              ];
            }
            // A Service that is gone: its VIP stays an address of this node until the last connection has ended.
            const node = shared.value.context.families.find((f) => f.family === family);
            if (node === undefined) return [];
            const reached = fwmark === 0 ? service : inside.behind(fwmark, family);
            if (reached === undefined) return [];
            const items = vipItems(family, reached.address, node.address);
            return [
              ...wishes(tables.addresses, items.address),
              ...wishes(tables.routes, items.route),
              ...wishes(tables.ipsetMembers, ...drainingMembers(reached)),
            ];
          },
        }),
    );
  }

  answerQuestions(context, {
    shared: () => shared.value.context,
    slicesOf: (unit) => endpointslices.by(BY_SERVICE, unit),
    marked: (unit) => dsr.of(unit),
    inside: inside.of,
    behind,
  });

  reconcile({
    name: "node",
    inputs: [shared, nodeProblems],
    units: () => [""],
    desired(_unit, { want, report }) {
      const { context: { families, routedRanges }, problems } = shared.value;
      for (const problem of [...nodeProblems.value, ...problems]) report(problem);
      want(tables.links, vipLink);
      for (const sysctl of sysctls(families, release())) want(tables.sysctls, sysctl);
      for (const timeout of timeouts(options)) want(tables.ipvsTimeouts, timeout);
      for (const route of rangeRoutes(routedRanges, families)) want(tables.routes, route);
      for (const family of families) {
        const { chain, jump } = masquerade(family, options.masqueradeAll);
        want(tables.chains, chain);
        want(tables.jumps, jump);
      }
    },
  });

  const slicesChanged = input(endpointslices, (slice) => serviceKeys(slice));
  const parts = {
    facts: shared,
    services: servicesChanged,
    slices: slicesChanged,
    inside,
    plan(unit: string): ServicePlan | undefined {
      const service = services.get(unit);
      if (service === undefined) return undefined;
      return planService(service, endpointslices.by(BY_SERVICE, unit), shared.value.context);
    },
  };
  reconcileFirewall(context, parts);
  reconcileHairpin(context, parts);

  reconcile({
    name: "service",
    inputs: [
      servicesChanged,
      slicesChanged,
      shared,
      // Nothing depends on a pod, but without them a restart would not know their periods.
      ...(options.ipvsGracefulTermination ? [input(stores.pods, () => [])] : []),
      dsr,
      inside,
    ],
    units: () => services.keys(),
    rank,
    desired(unit, { want, report }) {
      const service = services.get(unit);
      if (service === undefined) return;
      const slices = endpointslices.by(BY_SERVICE, unit);
      const plan = planService(service, slices, shared.value.context);
      const { routedRanges } = shared.value.context;
      if (!isProxied(service)) {
        for (const item of othersMembers(service, routedRanges)) want(tables.ipsetMembers, item);
      }
      const marked = dsr.of(unit);
      const items = itemsOf(unmarked(plan, marked), slices, shared.value.context);
      const problems = [...items.problems];
      const lack = lackOfMarks(plan, inside.of(unit));
      if (lack !== undefined) problems.push(lack);
      const shortCuts = withoutDsr(inside.of(unit), marked);
      const members = firewallMembers(plan, problems, routedRanges, marked, shortCuts);
      for (const item of members) want(tables.ipsetMembers, item);
      wantsDsr(service, problems);
      for (const problem of problems) report(problem);
      for (const item of items.addresses) want(tables.addresses, item);
      for (const item of items.routes) want(tables.routes, item);
      for (const item of items.services) want(tables.ipvsServices, item);
      for (const item of items.destinations) want(tables.ipvsDestinations, item);
      const short = insideItems(plan, slices, shortCuts, shared.value.context.graceful);
      for (const item of short.services) want(tables.ipvsServices, item);
      for (const item of short.destinations) want(tables.ipvsDestinations, item);
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
