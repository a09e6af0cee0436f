/** The router: pod networking and BGP. Pure functions beside this file say what; this file says when. */

import { readFileSync, statSync } from "node:fs";
import { contains, type Family } from "../../kernel/ip.ts";
import {
  derive,
  type EndpointSlice,
  type Input,
  type Plugin,
  type PluginContext,
  type Route,
  type Service,
  serviceRanges,
} from "../../kernel/plugin.ts";
import {
  type AdvertisingContext,
  type ServiceAdvertisement,
  serviceAdvertisement,
} from "./advertising.ts";
import { type Answering, globalAnswer, neighborsAnswer, ribAnswer, whyAnswer } from "./answers.ts";
import { createSpeaker, type Speaker, type SpeakerOptions } from "./bgp/mod.ts";
import { globalPeers } from "./external-peers.ts";
import { settable } from "./inputs.ts";
import { learnedGuard } from "./learned-guard.ts";
import { routerMetrics } from "./metrics.ts";
import {
  clusterSets,
  CNI_CONF,
  networkingFacts,
  networkingItems,
  nodeMembers,
} from "./networking.ts";
import { bestAddress, nodeAddresses } from "./node.ts";
import { ownNode } from "./own-node.ts";
import { parseOptions, type RouterOptions } from "./options.ts";
import { type Peering, planPeering } from "./peering.ts";
import { announcedRanges } from "./ranges.ts";
import { ribInput, settledInput } from "./rib-input.ts";
import { MAIN_TABLE, routeItems, routingContext } from "./routes.ts";
import { ownRoutes } from "./own-routes.ts";
import { requestedRoutes, requestProblems, requestsInput, requestTexts } from "./requests.ts";
import { peerConfigs, speakerOptions } from "./speaker-config.ts";
import { speakerControl } from "./speaker-control.ts";
import { isTunnel, TUNNEL_TABLE } from "./tunnels.ts";
import { vipSet } from "./vip-set.ts";

/** The index of slices by the Service that they belong to, "namespace/name". */
const BY_SERVICE = "router service";
/** Milliseconds between looks at the file of passwords. */
const FILE_MS = 10_000;

/** RTPROT_BOOT: what is made without a number. */
const RTPROT_BOOT = 3;

/** @param create makes the speaker; for tests */
export function routerPlugin(
  create: (options: SpeakerOptions) => Speaker = createSpeaker,
): Plugin<RouterOptions> {
  return { ...ROUTER, setup: (context) => setup(context, create) };
}

const ROUTER: Omit<Plugin<RouterOptions>, "setup"> = {
  name: "router",
  api: 1,
  watches: [
    { kind: "nodes" },
    { kind: "services" },
    { kind: "endpointslices" },
    { kind: "servicecidrs" },
  ],
  tables: [
    "fouPorts",
    "links",
    "bridges",
    "sysctls",
    "routes",
    "rules",
    "ipsets",
    "ipsetMembers",
    "chains",
    "jumps",
    "cniConfs",
  ],
  // kube-router's routes have the number of mrouted, which makes none of these; what leads to tunnels has none of its own, but
  // a table.
  adopts: {
    routes: [{ protocol: 17, table: MAIN_TABLE }, { protocol: RTPROT_BOOT, table: TUNNEL_TABLE }],
    links: isTunnel,
  },
  parse: parseOptions,
};

export default routerPlugin();

function setup(
  context: PluginContext<RouterOptions>,
  create: (options: SpeakerOptions) => Speaker,
): void {
  const { background, hold, host, input, log, node: self, options, reconcile, stores, tables } =
    context;
  const { endpointslices, nodes, services } = stores;
  endpointslices.addIndex(BY_SERVICE, sliceKeys);
  const nodesChanged = input(nodes, ({ metadata }) => [metadata.name]);
  const remembered = ownNode(self, options);
  const cluster = () => remembered(nodes.values());

  // Pod networking.
  const facts = derive(
    "node network",
    [nodesChanged, host],
    () => networkingFacts(cluster(), self, host.values(), options),
    // Before it is known who this node is, Linux stays as it is.
    { missing: ({ families, problems }) => families.length === 0 ? problems[0] : undefined },
  );
  const cniPath = process.env["KUBE_ROUTER_CNI_CONF_FILE"] || CNI_CONF;
  const needsSets = options.enablePodEgress || options.enableOverlay;
  const setFamilies = derive(
    "families of sets",
    [facts],
    () => needsSets && facts.value.podCidrs.length > 0 ? facts.value.families : [],
  );
  const ranges = announcedRanges(options);
  // Before it is known that nothing is announced any more, nothing is taken away.
  const aggregates = settable<readonly string[]>("announced ranges", [], ranges.length === 0);
  reconcile({
    name: "pod network",
    inputs: [facts, aggregates],
    units: () => [""],
    desired(_unit, { want, report }) {
      for (const problem of facts.value.problems) report(problem);
      const items = networkingItems(facts.value, options, cniPath, aggregates.value);
      for (const item of items.bridges) want(tables.bridges, item);
      for (const item of items.cniConfs) want(tables.cniConfs, item);
      for (const item of items.sysctls) want(tables.sysctls, item);
      for (const item of items.rules) want(tables.rules, item);
      for (const item of items.fouPorts) want(tables.fouPorts, item);
      for (const item of clusterSets(setFamilies.value)) want(tables.ipsets, item);
      for (const item of items.chains) want(tables.chains, item);
      for (const item of items.jumps) want(tables.jumps, item);
    },
  });
  reconcile({
    name: "node",
    inputs: [nodesChanged, setFamilies],
    *units() {
      for (const { metadata } of cluster().nodes) yield metadata.name;
    },
    desired(name, { want }) {
      const node = name === self ? cluster().own : nodes.get(name);
      if (node === undefined) return;
      for (const item of nodeMembers(node, setFamilies.value)) want(tables.ipsetMembers, item);
    },
  });

  // Routes that were learned.
  const rib = ribInput();
  const routing = derive(
    "ways to nodes",
    [nodesChanged, host],
    () => routingContext(self, cluster().nodes, host.values(), options),
    { textOf: (value) => JSON.stringify({ ...value, nodes: [...value.nodes] }) },
  );
  reconcile({
    name: "route",
    inputs: [rib, routing],
    units: () => rib.prefixes(),
    desired(prefix, { want, report }) {
      const learned = rib.learned(prefix);
      if (learned === undefined) return;
      const items = routeItems(learned, routing.value);
      for (const problem of items.problems) report(`Route to "${prefix}": ${problem}`);
      for (const item of items.links) want(tables.links, item);
      for (const item of items.routes) want(tables.routes, item);
    },
  });
  // What an earlier life left stays until the peers have told theirs.
  const settled = { 4: settledInput(4), 6: settledInput(6) };
  for (const family of [4, 6] as const) {
    hold(tables.routes, settled[family], (route: Route) => route.family === family);
    hold(tables.links, settled[family]);
  }

  // Peering.
  // The flag goes before the file.
  const passwordFile = options.peerRouterPasswords.length > 0
    ? ""
    : options.peerRouterPasswordsFile;
  const passwords = settable("passwords of peers", readPasswords(passwordFile));
  let found: Peering["externalPeers"] | undefined;
  /** Spent on plans since the speaker was told of one. */
  let planMs = 0;
  const peering = derive(
    "BGP peers",
    [nodesChanged, passwords],
    () => {
      const begin = performance.now();
      const planned = planPeering({
        self,
        nodes: cluster().nodes,
        options,
        globalPeers: withFileProblem(
          globalPeers(options, passwords.value.text),
          passwords.value.problem,
        ),
        ...(found === undefined ? {} : { previous: found }),
      });
      found = planned.externalPeers;
      planMs += performance.now() - begin;
      return planned;
    },
    { textOf: textOfPeering },
  );
  const speakerProblems = settable<readonly string[]>("problems of BGP", []);
  reconcile({
    name: "bgp",
    inputs: [peering, speakerProblems],
    units: () => [""],
    desired(_unit, { report }) {
      for (const problem of peering.value.problems) report(problem);
      for (const problem of speakerProblems.value) report(problem);
    },
  });

  // Advertising.
  const rangesChanged = input(stores.servicecidrs, () => "all");
  const advertising = derive("node addresses", [nodesChanged, rangesChanged], () => {
    const { own } = cluster();
    const addresses = own === undefined ? [] : nodeAddresses(own).all;
    const objects = stores.servicecidrs.values();
    const serviceClusterIpRange = serviceRanges(options.serviceClusterIpRange, objects);
    const context: AdvertisingContext = {
      node: self,
      addresses,
      options: { ...options, serviceClusterIpRange },
    };
    return context;
  });
  const servicesChanged = input(services, (service) => [serviceKey(service)]);
  const slicesChanged = input(endpointslices, sliceKeys);
  const announced = (unit: string) => {
    const service = services.get(unit);
    return service === undefined
      ? undefined
      : serviceAdvertisement(service, endpointslices.by(BY_SERVICE, unit), advertising.value);
  };
  const vips = vipSet(
    [servicesChanged, slicesChanged, advertising],
    function* () {
      for (const service of services.values()) yield serviceKey(service);
    },
    announced,
    (addresses) => {
      if (!known) return;
      const changed = own.moved(addresses);
      aggregates.set(own.aggregates);
      control.changeRoutes(changed);
    },
    (address) => ranges.some((range) => contains(range, address)),
  );
  // What plugins ask for.
  const { advertisements } = context;
  const familyOn = (family: Family): boolean =>
    family === 4 ? options.enableIpv4 : options.enableIpv6;
  const own = ownRoutes(vips, ranges, requestedRoutes(advertisements, familyOn));
  const requested = requestsInput(advertisements);
  const nextHops = derive("next hops", [nodesChanged], () => {
    const { own: node } = cluster();
    const addresses = node === undefined ? { all: [] } : nodeAddresses(node);
    const of = (family: Family) => bestAddress(addresses, family);
    const [four, six] = [of(4), of(6)];
    return {
      ...(four === undefined ? {} : { 4: four }),
      ...(six === undefined ? {} : { 6: six }),
    };
  });
  advertisements?.subscribe((prefixes) => {
    if (!known) return;
    control.changeRoutes(own.requested(prefixes));
  });
  reconcile({
    name: "advertisement",
    inputs: [requested, nextHops],
    units: () => advertisements?.prefixes() ?? [],
    desired(prefix, { report }) {
      const asked = advertisements?.of(prefix) ?? [];
      for (const problem of requestProblems(prefix, asked, familyOn, nextHops.value)) {
        report(problem);
      }
    },
  });
  reconcile({
    name: "service",
    inputs: [servicesChanged, slicesChanged, advertising],
    *units() {
      for (const service of services.values()) yield serviceKey(service);
    },
    desired(unit, { report }) {
      for (const problem of announced(unit)?.problems ?? []) report(problem);
    },
  });

  // The speaker.
  const metrics = routerMetrics(context.metrics, {
    speaker: () => control.speaker,
    vips,
    podCidrs: () => facts.value.podCidrs.length,
    learned: () => rib.size,
  });
  const guard = learnedGuard(log);
  const control = speakerControl({
    create,
    log: log.child({ part: "bgp" }),
    survived: async (): Promise<readonly Family[]> => await isRestart ? facts.value.families : [],
    onBest(changes) {
      metrics.received(changes.length);
      rib.take(changes);
      guard(rib.size);
    },
    onGone: () => rib.clear(),
    onSettled: (family, value) => settled[family].set(value),
    onEvent({ level, peer, message, fields }) {
      log[level](message, { ...(peer === undefined ? {} : { peer }), ...fields });
    },
    onProblems: (problems) => speakerProblems.set(problems),
  });
  const answering: Answering = {
    speaker: () => control.speaker,
    plan: () => peering.value.plan,
    problems: () => [...peering.value.problems, ...speakerProblems.value],
    inLinux(prefix) {
      const learned = rib.learned(prefix);
      return learned === undefined ? undefined : routeItems(learned, routing.value);
    },
    vip: (address) => vipTexts(address, services.values(), announced),
    requested: (prefix) => requestTexts(prefix, advertisements),
    askedBy: (prefix) => advertisements?.of(prefix).map(({ plugin }) => plugin) ?? [],
    now: Date.now,
  };
  context.answer("global", () => globalAnswer(answering));
  context.answer("neighbors", (query) => neighborsAnswer(answering, query));
  context.answer("rib", (query) => ribAnswer(answering, query));
  context.answer("why", (query) => whyAnswer(answering, query));
  const objects: readonly Input[] = [servicesChanged, slicesChanged];
  const sources: readonly Input[] = [peering, facts, advertising, nextHops, ...objects];
  let running = false;
  /** Our routes are known: from then on VIPs are looked at one by one. */
  let known = false;
  /** Tells the speaker all that it should be. Before all is known it would withdraw what others still count on. */
  const applyNow = (): void => {
    if (!sources.every(({ synced }) => synced)) return;
    own.renew({ podCidrs: facts.value.podCidrs, nextHops: nextHops.value });
    known = true;
    aggregates.set(own.aggregates);
    if (!running) return;
    const { plan } = peering.value;
    if (plan === undefined) {
      control.want(undefined);
      settled[4].set(true);
      settled[6].set(true);
      return;
    }
    const begin = performance.now();
    control.want({
      options: speakerOptions(plan, self),
      ...(plan.clusterId === undefined ? {} : { clusterId: plan.clusterId }),
      peers: peerConfigs(plan, {
        advertisePodCidr: options.advertisePodCidr,
        maxPrefixes: options.bgpMaxPrefixes,
        podCidrs: facts.value.podCidrs,
      }),
      routes: own.all,
    });
    metrics.peersSynced(planMs + performance.now() - begin);
    planMs = 0;
  };
  let due = false;
  /**
   * After all that hear of a change: who is told first would see what is computed from it as it was, and "no peers yet"
   * would end the wait for what they tell.
   */
  const apply = (): void => {
    if (due) return;
    due = true;
    queueMicrotask(() => {
      due = false;
      applyNow();
    });
  };
  for (const source of sources) {
    source.subscribe(() => {
      // Once they are synced their changes come by the set of VIPs.
      if (!known || !objects.includes(source)) apply();
    });
  }
  let isRestart: Promise<boolean> | undefined;
  background(() => {
    // Sysctls are noted before all else, and forgotten with the boot: with one of ours this is no first start. Nor is it one
    // where kube-router ran until a moment ago. Asked before the first round makes some.
    isRestart = Promise.all([context.owned(tables.sysctls), context.adoptable(tables.routes)])
      .then((lists) => lists.some(({ length }) => length > 0), () => false);
    running = true;
    apply();
    const timer = setInterval(
      () => passwords.set(readPasswords(passwordFile)),
      FILE_MS,
    );
    timer.unref();
    return async () => {
      running = false;
      clearInterval(timer);
      await control.stop(options.bgpGracefulRestart);
    };
  });
}

/** What each Service that has an address says of announcing it. */
function vipTexts(
  address: string,
  services: Iterable<Service>,
  announced: (unit: string) => ServiceAdvertisement | undefined,
): readonly string[] {
  const texts: string[] = [];
  for (const service of services) {
    const unit = serviceKey(service);
    const found = announced(unit);
    if (found?.advertise.some((vip) => vip.address === address) === true) {
      texts.push(`Service "${unit}" has it announced`);
    }
    const reason = found?.withheld.find((each) => each.address === address)?.reason;
    if (reason !== undefined) texts.push(`Service "${unit}" does not have it announced: ${reason}`);
  }
  return texts;
}

function serviceKey({ metadata }: Service): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function sliceKeys({ metadata, service }: EndpointSlice): readonly string[] {
  return service === undefined ? [] : [`${metadata.namespace}/${service}`];
}

/** With the keys as text, which JSON would write as numbered fields. */
function textOfPeering({ plan, problems }: Peering): string {
  const peers = plan?.peers.map((peer) => ({
    ...peer,
    key: peer.key === undefined ? "" : Buffer.from(peer.key).toString("base64"),
  }));
  return JSON.stringify({ ...plan, peers, problems });
}

interface PasswordFile {
  readonly text?: string;
  readonly problem?: string;
}

function readPasswords(path: string): PasswordFile {
  if (path === "") return {};
  try {
    if (!statSync(path).isFile()) return { problem: `"${path}" is no file` };
    return { text: readFileSync(path, "utf8") };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { problem: `Cannot read "${path}" of --peer-router-passwords-file: ${code ?? "EIO"}` };
  }
}

/** Without the passwords that were meant there is no peer: none is better than one that anybody may be. */
function withFileProblem(
  peers: ReturnType<typeof globalPeers>,
  problem: string | undefined,
): ReturnType<typeof globalPeers> {
  return problem === undefined
    ? peers
    : { peers: [], problems: [...peers.problems, problem], unreadable: true };
}
