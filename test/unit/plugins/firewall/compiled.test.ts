import { describe, expect, test } from "bun:test";
import type { Packet } from "../../../../src/plugins/firewall/oracle.ts";
import { randomCluster, randomPackets, shrink } from "../../../support/policy-random.ts";
import { judged, type PolicyCluster } from "../../../support/policy-world.ts";
import { random, seeds } from "../../../support/random.ts";

/** More by the environment, for long runs. */
const BATCHES = Number(process.env["POLICY_BATCHES"] ?? 3);
const CLUSTERS = 100;
const PACKETS = 40;

function disagree(cluster: PolicyCluster, packet: Packet): boolean {
  const { judges, oracle, passes } = judged(cluster);
  const { allowed } = oracle(packet);
  return allowed !== passes(packet) || allowed !== judges(packet).every((each) => each.allowed);
}

/** What a person needs to see what went wrong. */
function report(cluster: PolicyCluster, packet: Packet, seed: number): string {
  const small = shrink(cluster, (each) => disagree(each, packet));
  const { judges, oracle, passes, walks } = judged(small);
  const spec = ({ metadata, ...rest }: { metadata: { namespace: string; name: string } }) => ({
    key: `${metadata.namespace}/${metadata.name}`,
    ...rest,
  });
  return JSON.stringify(
    {
      seed,
      packet,
      oracle: oracle(packet),
      passes: passes(packet),
      judges: judges(packet),
      walks: walks(packet),
      pods: small.pods.map((pod) => ({ ...spec(pod), labels: pod.metadata.labels })),
      namespaces: small.namespaces.map(({ metadata }) => metadata),
      policies: small.policies.map(spec),
    },
    undefined,
    1,
  );
}

describe("the rules and the models of random clusters let pass what the oracle allows, and nothing else", () => {
  for (const family of [4, 6] as const) {
    test.each(seeds(BATCHES))(`in IPv${family}, batch %d`, (batch) => {
      let allowed = 0;
      let denied = 0;
      for (let i = 0; i < CLUSTERS; i++) {
        const seed = (batch * CLUSTERS + i) * 8 + family;
        const dice = random(seed);
        const cluster = randomCluster(dice);
        const { judges, oracle, passes } = judged(cluster);
        for (const packet of randomPackets(cluster, dice, PACKETS)) {
          if (packet.source.includes(":") !== (family === 6)) continue;
          const wanted = oracle(packet).allowed;
          if (wanted) allowed++;
          else denied++;
          const models = judges(packet).every((each) => each.allowed);
          if (wanted !== passes(packet) || wanted !== models) {
            throw new Error(report(cluster, packet, seed));
          }
        }
      }
      // The generator must not have become one-sided.
      expect(allowed).toBeGreaterThan(CLUSTERS * 4);
      expect(denied).toBeGreaterThan(CLUSTERS * 2);
    });
  }
});
