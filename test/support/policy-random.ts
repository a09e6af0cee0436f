/** Random clusters with policies, random packets, and what is left of a cluster when all that does not matter is taken out. */

import type { NetworkPolicy } from "../../src/kernel/plugin.ts";
import type { Packet } from "../../src/plugins/firewall/oracle.ts";
import { namespace, pod, policy, type PolicyCluster } from "./policy-world.ts";
import type { Random } from "./random.ts";

const NODES: ReadonlyMap<string, readonly string[]> = new Map([
  ["node1", ["192.168.1.11", "fd00:1::11", "10.1.1.1", "fd01:1::1"]],
  ["node2", ["192.168.1.12", "fd00:1::12", "10.1.2.1", "fd01:2::1"]],
]);
const OUTSIDE = ["8.8.8.8", "10.2.3.4", "0.0.0.1", "255.255.255.254", "2001:db8::1", "fe80::9"];
const PORTS = [1, 79, 80, 81, 443, 8080, 8081, 9000, 65535];
const NAMES = ["http", "metrics", "dns"];
const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;

export function randomCluster(random: Random): PolicyCluster {
  const chance = (percent: number) => random.below(100) < percent;
  const some = <T>(most: number, make: (i: number) => T): readonly T[] =>
    Array.from({ length: random.below(most + 1) }, (_, i) => make(i));
  const labels = () => ({
    ...(chance(70) ? { app: random.pick(["web", "db", "dns"]) } : {}),
    ...(chance(40) ? { tier: random.pick(["front", "back"]) } : {}),
    ...(chance(10) ? { constructor: "odd" } : {}),
  });

  const names = ["a", "b", "c"].slice(0, 2 + random.below(2));
  const namespaces = names.filter(() => !chance(5)).map((name) =>
    namespace(
      name,
      {
        "kubernetes.io/metadata.name": name,
        ...(chance(50) ? { env: random.pick(["prod", "test"]) } : {}),
      },
      chance(10)
        ? {
          "net.beta.kubernetes.io/network-policy": random.pick([
            '{"ingress": {"isolation": "DefaultDeny"}}',
            '{"ingress": {"isolation": "DefaultAllow"}}',
            "{bad",
          ]),
        }
        : {},
    )
  );

  const pods = Array.from({ length: 3 + random.below(6) }, (_, i) => {
    const where = 1 + random.below(2);
    // Some share the address of a finished pod.
    const recycled = chance(5) ? 1 : i;
    const families = random.pick(["4", "6", "46", "46", "64"]);
    const ip = { "4": `10.1.${where}.${recycled + 2}`, "6": `fd01:${where}::${recycled + 2}` };
    return pod(`${random.pick(names)}/p${i}`, {
      labels: labels(),
      node: `node${where}`,
      hostNetwork: chance(8),
      phase: chance(recycled === i ? 5 : 100) ? random.pick(["Succeeded", "Failed"]) : "Running",
      ips: chance(4) ? [] : [...families].map((family) => ip[family as "4" | "6"]),
      ports: some(3, () => ({
        name: random.pick(NAMES),
        protocol: random.pick(PROTOCOLS),
        containerPort: random.pick(PORTS),
      })),
    });
  });

  const policies = randomPolicies(random, names).map(({ key, spec, annotations }) =>
    policy(key, spec, annotations)
  );
  return { namespaces, pods, policies, nodes: NODES };
}

/** A policy as its YAML has it. */
export interface RawPolicy {
  readonly key: string;
  readonly spec: object;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Up to six policies in the namespaces. */
export function randomPolicies(random: Random, names: readonly string[]): readonly RawPolicy[] {
  const chance = (percent: number) => random.below(100) < percent;
  const some = <T>(most: number, make: (i: number) => T): readonly T[] =>
    Array.from({ length: random.below(most + 1) }, (_, i) => make(i));
  const selector = (keys: readonly (readonly [string, readonly string[]])[]) => {
    if (chance(25)) return {};
    const [key, values] = random.pick(keys);
    if (chance(60)) return { matchLabels: { [key]: random.pick(values) } };
    const operator = random.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
    const few = operator === "In" || operator === "NotIn"
      ? { values: random.shuffle(values).slice(0, 1 + random.below(values.length)) }
      : {};
    return { matchExpressions: [{ key, operator, ...few }] };
  };
  const ofPods = () =>
    selector([["app", ["web", "db", "dns"]], ["tier", ["front", "back"]], ["constructor", [
      "odd",
    ]]]);
  const ofNamespaces = () =>
    selector([["env", ["prod", "test"]], ["kubernetes.io/metadata.name", names]]);

  const block = () => {
    if (chance(25)) {
      const v6 = chance(50);
      const except = v6
        ? ["fd01:1::/64", "8000::/1", "::/1", "fd01:2::3/128", "2001:db8::/32"]
        : ["10.1.1.0/24", "128.0.0.0/1", "0.0.0.0/1", "10.1.2.3/32", "8.0.0.0/8"];
      return { cidr: v6 ? "::/0" : "0.0.0.0/0", except: some(2, () => random.pick(except)) };
    }
    if (chance(6)) return { cidr: "10.1.0.0/33" };
    if (chance(3)) return { cidr: "10.1.0.0/16", except: ["nonsense"] };
    return chance(60)
      ? {
        cidr: random.pick([
          "10.1.0.0/16",
          "10.1.1.0/24",
          "10.0.0.0/8",
          "10.1.2.3/32",
          "8.8.8.8/32",
        ]),
        except: some(
          2,
          () =>
            random.pick(["10.1.1.0/24", "10.1.1.4/30", "10.1.2.0/28", "10.0.0.0/7", "fd01::/16"]),
        ),
      }
      : {
        cidr: random.pick(["fd01::/16", "fd01:1::/64", "fd01:2::3/128", "2001:db8::/32"]),
        except: some(2, () => random.pick(["fd01:1::/64", "fd01:1::4/126", "10.1.1.0/24"])),
      };
  };
  const peer = () => {
    const kind = random.below(4);
    if (kind === 0) return { podSelector: ofPods() };
    if (kind === 1) return { namespaceSelector: ofNamespaces() };
    if (kind === 2) return { namespaceSelector: ofNamespaces(), podSelector: ofPods() };
    return { ipBlock: block() };
  };
  const port = () => {
    const protocol = chance(20) ? {} : { protocol: random.pick(PROTOCOLS) };
    const kind = random.below(4);
    if (kind === 0) return protocol;
    if (kind === 1 || chance(20)) return { ...protocol, port: random.pick(NAMES) };
    const number = random.pick(PORTS);
    return kind === 2 ? { ...protocol, port: number } : {
      ...protocol,
      port: number,
      endPort: Math.min(65535, number + random.below(400)),
    };
  };
  const rule = (field: "from" | "to") => ({
    ...(chance(75) ? { [field]: some(3, peer) } : {}),
    ...(chance(60) ? { ports: some(2, port) } : {}),
  });
  return some(6, (i) => ({
    key: `${random.pick(names)}/policy${i}`,
    spec: {
      podSelector: ofPods(),
      ...(chance(75)
        ? { policyTypes: random.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]) }
        : {}),
      ...(chance(80) ? { ingress: some(2, () => rule("from")) } : {}),
      ...(chance(60) ? { egress: some(2, () => rule("to")) } : {}),
    },
    annotations: chance(10) ? { "routelet.io/audit": "true" } : {},
  }));
}

/** Packets between all that the cluster knows and some strangers. At least one end is a pod or was one. */
export function randomPackets(
  { nodes, pods }: PolicyCluster,
  random: Random,
  count: number,
): readonly Packet[] {
  const own = pods.flatMap(({ status }) => status.podIPs);
  if (own.length === 0) return [];
  const all = [...own, ...own, ...own, ...[...nodes.values()].flat(), ...OUTSIDE];
  return Array.from({ length: count }, (): Packet => {
    const one = random.pick(own);
    const family = all.filter((each) => each.includes(":") === one.includes(":"));
    const [source, destination] = random.shuffle([one, random.pick(family)]);
    // Half of the packets go to a port that the pod has.
    const served = pods.find(({ status }) => status.podIPs.includes(destination ?? ""))?.spec.ports;
    if (served !== undefined && served.length > 0 && random.below(2) === 0) {
      const { containerPort } = random.pick(served);
      return {
        source: source ?? one,
        destination: destination ?? one,
        protocol: random.pick(PROTOCOLS),
        port: containerPort,
      };
    }
    return {
      source: source ?? one,
      destination: destination ?? one,
      protocol: random.pick(PROTOCOLS),
      port: random.pick([...PORTS, 82, 1024]),
    };
  });
}

/** The smallest cluster that `fails` still says yes to: policies, pods, namespaces, then parts of policies are taken out. */
export function shrink(
  cluster: PolicyCluster,
  fails: (cluster: PolicyCluster) => boolean,
): PolicyCluster {
  let best = cluster;
  for (let again = true; again;) {
    again = false;
    for (const smaller of smallerClusters(best)) {
      if (!fails(smaller)) continue;
      best = smaller;
      again = true;
      break;
    }
  }
  return best;
}

function* smallerClusters(cluster: PolicyCluster): Iterable<PolicyCluster> {
  for (const part of ["policies", "pods", "namespaces"] as const) {
    for (let i = 0; i < cluster[part].length; i++) {
      yield { ...cluster, [part]: cluster[part].toSpliced(i, 1) };
    }
  }
  for (const [i, one] of cluster.policies.entries()) {
    for (const spec of smallerSpecs(one.spec)) {
      yield { ...cluster, policies: cluster.policies.with(i, { ...one, spec }) };
    }
  }
}

type Spec = NetworkPolicy["spec"];

function* smallerSpecs(spec: Spec): Iterable<Spec> {
  for (const direction of ["ingress", "egress"] as const) {
    for (const [i, rule] of spec[direction].entries()) {
      yield { ...spec, [direction]: spec[direction].toSpliced(i, 1) };
      for (const part of ["peers", "ports"] as const) {
        // The last one stays: an empty list means everything.
        for (let j = 0; j < rule[part].length && rule[part].length > 1; j++) {
          const less = { ...rule, [part]: rule[part].toSpliced(j, 1) };
          yield { ...spec, [direction]: spec[direction].with(i, less) };
        }
      }
    }
  }
}
