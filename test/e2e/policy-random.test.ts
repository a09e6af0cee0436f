/** The firewall against its oracle: random clusters and policies, and real packets. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { trim } from "../../src/kernel/cluster/trim.ts";
import { type Packet, verdict, type World } from "../../src/plugins/firewall/oracle.ts";
import { randomPolicies, type RawPolicy } from "../support/policy-random.ts";
import { policy } from "../support/policy-world.ts";
import { type Random, random, seeds } from "../support/random.ts";
import { passLab, soak, withFlag } from "./lab.ts";

const FOLDER = join(import.meta.dir, "policy");
/** The firewall alone, in namespaces of the host where that has what it takes. */
const ALONE = join(FOLDER, "firewall-topology.yaml");

/** Random clusters with real packets; by `make soak` thousands. */
const CASES = {
  iptables: Number(process.env["POLICY_CASES"] ?? (soak ? 1000 : 20)),
  nftables: Number(process.env["POLICY_CASES"] ?? (soak ? 1000 : 20)),
};
/** Of one run of the lab. */
const BATCH = 100;

describe("the firewall", () => {
  for (const [backend, count] of Object.entries(CASES)) {
    // So many as a run of the lab has time for.
    for (let from = 0; from < count; from += BATCH) {
      const some = Math.min(BATCH, count - from);
      test(
        `random on ${backend}: decides as the oracle does in ${some} random clusters, from number ${from}, over IPv4 and IPv6`,
        () => decidesAsTheOracle(backend, from, some),
        600_000,
      );
    }
  }
});

/** Random labels, isolation and policies, and what comes through of all probes. */
async function decidesAsTheOracle(backend: string, from: number, count: number): Promise<void> {
  const cluster = readCluster();
  const cases = seeds(count).map((seed) => {
    const dice = random(from + seed);
    const objects = cluster.map((object) => relabelled(object, dice));
    const policies = atLeastOne(() => randomPolicies(dice, ["a", "b", "c"]));
    return { name: String(seed).padStart(4, "0"), objects, policies };
  });
  const probes = probesOf(worldOf(cluster, []));
  const lab = await passLab({
    topology: withFlag(ALONE, `--netfilter=${backend}`),
    script: readFileSync(join(FOLDER, "random.sh"), "utf8"),
    timeout: 540,
    files: {
      "probes.jsonl": probes.map((probe) => JSON.stringify(probe)).join("\n"),
      ...Object.fromEntries(cases.flatMap(({ name, objects, policies }) => [
        [`case-${name}.json`, list([...objects, ...policies.map(asObject)])],
        [`gone-${name}.json`, list(policies.map(asObject))],
      ])),
    },
  });
  let denied = 0;
  for (const { name, objects, policies } of cases) {
    const world = worldOf(objects, policies);
    const results = lab.read(`case-${name}.jsonl`).trim().split("\n")
      .map((line) => JSON.parse(line) as { id: string; result: string });
    expect(results).toHaveLength(probes.length);
    const got = new Map(results.map(({ id, result }) => [id, result === "ok"]));
    const wrong = probes.flatMap(({ id, packet }) => {
      const wanted = verdict(world, packet);
      if (!wanted.allowed) denied++;
      return got.get(id) === wanted.allowed ? [] : [{ id, packet, wanted }];
    });
    if (wrong.length > 0) {
      const named = objects.map(({ kind, metadata }) => ({ kind, metadata }));
      throw new Error(
        JSON.stringify({ seed: from + Number(name), wrong, policies, named }, undefined, 1),
      );
    }
  }
  expect(denied).toBeGreaterThan(count * 10);
  expect(denied).toBeLessThan(count * probes.length * 0.9);
}

function atLeastOne<T>(make: () => readonly T[]): readonly T[] {
  for (;;) {
    const made = make();
    if (made.length > 0) return made;
  }
}

function list(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

function asObject({ key, spec, annotations }: RawPolicy): object {
  const [namespace, name] = key.split("/");
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace, name, annotations },
    spec,
  };
}

interface ClusterObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: object;
    readonly annotations?: object;
  };
}

/**
 * The namespaces and pods of the topology's cluster; and a pod of a node's network, and one that is done, whose address another
 * pod has: policies mean neither, whatever their labels.
 */
function readCluster(): readonly ClusterObject[] {
  const objects = Bun.YAML.parse(
    readFileSync(join(FOLDER, "cluster.yaml"), "utf8"),
  ) as readonly ClusterObject[];
  const pod = (name: string, spec: object, status: object): ClusterObject => ({
    ...{ apiVersion: "v1", spec, status },
    kind: "Pod",
    metadata: { namespace: "c", name },
  });
  return [
    ...objects.filter(({ kind }) => kind === "Namespace" || kind === "Pod"),
    pod("host", { nodeName: "node2", hostNetwork: true, containers: [] }, {
      phase: "Running",
      podIP: "192.168.1.12",
      podIPs: [{ ip: "192.168.1.12" }, { ip: "fd00:1::12" }],
    }),
    pod("done", { nodeName: "node1", containers: [] }, {
      phase: "Succeeded",
      podIP: "10.1.1.4",
      podIPs: [{ ip: "10.1.1.4" }, { ip: "fd01:1::4" }],
    }),
  ];
}

function relabelled(object: ClusterObject, dice: Random): ClusterObject {
  const chance = (percent: number) => dice.below(100) < percent;
  const labels = object.kind === "Pod"
    ? {
      ...(chance(70) ? { app: dice.pick(["web", "db", "dns"]) } : {}),
      ...(chance(40) ? { tier: dice.pick(["front", "back"]) } : {}),
    }
    : chance(60)
    ? { env: dice.pick(["prod", "test"]) }
    : {};
  const annotations = object.kind === "Namespace" && chance(10)
    ? { "net.beta.kubernetes.io/network-policy": '{"ingress": {"isolation": "DefaultDeny"}}' }
    : {};
  return { ...object, metadata: { ...object.metadata, labels, annotations } };
}

/** What the agents see. */
function worldOf(objects: readonly ClusterObject[], policies: readonly RawPolicy[]): World {
  const of = (kind: string) => objects.filter((object) => object.kind === kind);
  return {
    namespaces: of("Namespace").flatMap(({ metadata, ...rest }) => {
      // As the API server does.
      const labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
      return trim("namespaces", { ...rest, metadata: { ...metadata, labels } }) ?? [];
    }),
    pods: of("Pod").flatMap((raw) => trim("pods", raw) ?? []),
    nodes: new Map([1, 2].map((n) => [
      `node${n}`,
      [`192.168.1.1${n}`, `fd00:1::1${n}`, `10.1.${n}.1`, `fd01:${n}::1`],
    ])),
    policies: policies.map(({ key, spec, annotations }) => policy(key, spec, annotations)),
  };
}

interface Probe {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: string;
  readonly timeoutMs: number;
  readonly packet: Packet;
}

/** From each pod, and from outside, to each port that a pod serves, in both families. */
function probesOf({ pods: all }: World): readonly Probe[] {
  const pods = [...all].filter(({ spec, status }) =>
    !spec.hostNetwork && status.phase === "Running"
  );
  const senders = [
    ...pods.map(({ metadata, status }) => ({
      from: `pod-${metadata.namespace}-${metadata.name}`,
      addresses: status.podIPs,
    })),
    { from: "client-outside", addresses: ["192.168.1.99", "fd00:1::99"] },
    { from: "node-node1", addresses: ["192.168.1.11", "fd00:1::11"] },
    { from: "node-node2", addresses: ["192.168.1.12", "fd00:1::12"] },
  ];
  return senders.flatMap(({ from, addresses }) =>
    addresses.flatMap((source, family) =>
      pods.flatMap(({ spec, status }) =>
        spec.ports.flatMap(({ containerPort: port, protocol }): readonly Probe[] => {
          const to = status.podIPs[family] ?? "";
          if (protocol !== "TCP" && protocol !== "UDP") return [];
          return [{
            id: `${from} ${to} ${protocol}/${port}`,
            from,
            to,
            port,
            protocol,
            // Only a busy machine needs it: what is denied is refused at once.
            timeoutMs: 5000,
            packet: { source, destination: to, protocol, port },
          }];
        })
      )
    )
  );
}
