/** One Service seen by one node in each stack, so that every rule is tried for IPv4, IPv6 and both. */

import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../../src/kernel/ip.ts";
import type { EndpointSlice, Service } from "../../../../../src/kernel/plugin.ts";
import {
  type FrontendKind,
  planService,
  type ServiceContext,
} from "../../../../../src/plugins/proxy/service-plan.ts";
import {
  type EndpointLike,
  service,
  type ServiceChanges,
  slice,
  type SliceChanges,
} from "../../../../support/objects.ts";

export type Family = 4 | 6;

const STACKS: Readonly<Record<string, readonly Family[]>> = {
  "IPv4": [4],
  "IPv6": [6],
  "dual stack": [4, 6],
};

/** The addresses of a Service by kind; of `kind` "pod" those of endpoint number `n`. */
export function at(family: Family, kind: FrontendKind | "pod", n = 1): string {
  const nets = {
    clusterIP: ["10.96.0.", "fd00:96::"],
    nodePort: ["192.168.1.", "fd00:50::"],
    externalIP: ["203.0.113.", "fd00:203::"],
    loadBalancer: ["198.51.100.", "fd00:198::"],
    pod: ["10.1.0.", "fd00:1::"],
  }[kind];
  return `${nets[family === 4 ? 0 : 1]}${n}`;
}

/** An endpoint of every family: its number, and what its slices say of it. */
export interface Pod extends Partial<Omit<EndpointLike & object, "addresses">> {
  readonly n: number;
}

export interface Stack {
  readonly families: readonly Family[];
  context(changes?: Partial<ServiceContext>): ServiceContext;
  /** A Service with a cluster IP, a node port, an external IP and a load balancer IP of each family. */
  service(changes?: ServiceChanges): Service;
  /** One slice a family. */
  slices(pods: readonly Pod[], changes?: SliceChanges): readonly EndpointSlice[];
  /**
   * Expects of every family that frontends of a kind have these endpoints, by number ("drop" and "reject" are verdicts
   * of those without).
   */
  expectEndpoints(
    given:
      & { service?: ServiceChanges; pods?: readonly Pod[]; slices?: readonly EndpointSlice[] }
      & {
        context?: Partial<ServiceContext>;
      },
    wanted: Partial<Record<FrontendKind, readonly number[] | "drop" | "reject" | "absent">>,
  ): void;
}

const cidr = (text: string) => {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`No CIDR: "${text}"`);
  return parsed;
};

function stack(families: readonly Family[]): Stack {
  const made: Stack = {
    families,
    context: (changes = {}) => ({
      node: "one",
      zone: "a",
      graceful: false,
      families: families.map((family) => ({
        family,
        address: at(family, "nodePort"),
        podCIDRs: [],
      })),
      extraNodeAddresses: [],
      routedRanges: [],
      ranges: {
        strict: true,
        cluster: ["10.96.0.0/16", "fd00:96::/112"].map(cidr),
        external: ["203.0.113.0/24", "fd00:203::/112"].map(cidr),
        loadBalancer: ["198.51.100.0/24", "fd00:198::/112"].map(cidr),
      },
      excluded: [],
      ownAddresses: [],
      otherNodes: [],
      ...changes,
    }),
    service(changes = {}) {
      const plain = service("default/web", {
        type: "LoadBalancer",
        clusterIPs: families.map((f) => at(f, "clusterIP")),
        externalIPs: families.map((f) => at(f, "externalIP")),
        ports: [{ nodePort: 30080 }],
        ...changes,
      });
      const ingress = families.map((f) => ({ ip: at(f, "loadBalancer") }));
      return { ...plain, status: { loadBalancer: { ingress } } };
    },
    slices: (pods, changes = {}) =>
      families.map((family) =>
        slice(
          `default/web-${family}`,
          pods.map(({ n, ...rest }) => ({ addresses: [at(family, "pod", n)], ...rest })),
          { addressType: family === 4 ? "IPv4" : "IPv6", ...changes },
        )
      ),
    expectEndpoints({ service: changes, pods = [], slices, context }, wanted) {
      const plan = planService(
        made.service(changes),
        slices ?? made.slices(pods),
        made.context(context),
      );
      for (const family of families) {
        const got: Record<string, unknown> = {};
        for (const kind of Object.keys(wanted)) {
          const front = plan.frontends.find((f) => f.kind === kind && f.family === family);
          got[kind] = front === undefined
            ? "absent"
            : front.verdict !== "serve"
            ? front.verdict
            : front.endpoints.map((e) => Number(e.address.slice(e.address.search(/\d+$/))));
        }
        expect(got).toEqual({ ...wanted });
      }
    },
  };
  return made;
}

/** IPv4 alone, for rules about spellings. */
export const ipv4: Stack = stack([4]);

/** Declares a test for each stack; `rule` begins with the number of the rule. */
export function eachStack(rule: string, run: (stack: Stack) => void | Promise<void>): void {
  describe(rule, () => {
    for (const [name, families] of Object.entries(STACKS)) {
      test(`${rule} (${name})`, () => run(stack(families)));
    }
  });
}
