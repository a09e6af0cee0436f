import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Settings, setUpAllocator } from "../../../../plugins.d/lb-pool/allocator.ts";
import { parsePool } from "../../../../plugins.d/lb-pool/pool.ts";
import { isLater, newestOf } from "../../../../plugins.d/lb-pool/view.ts";
import { createApiClient } from "../../../../src/kernel/cluster/api-client.ts";
import { createClusterApi } from "../../../../src/kernel/cluster/api-writer.ts";
import { ApiFailed, type ClusterApi } from "../../../../src/kernel/cluster/cluster-api.ts";
import { masterCredentials } from "../../../../src/kernel/cluster/in-cluster.ts";
import { createStore } from "../../../../src/kernel/cluster/store.ts";
import { trim } from "../../../../src/kernel/cluster/trim.ts";
import { type TestLogger, testLogger } from "../../../../src/kernel/observe/log.ts";
import { noMetrics } from "../../../../src/kernel/observe/metrics.ts";
import type { Reconciler, Service, Stores } from "../../../../src/kernel/plugin.ts";
import { storeInput } from "../../../../src/kernel/runtime/store-input.ts";
import { witness } from "../../../e2e/loadbalancer/agents.ts";
import { createApi, type LabApi } from "../../../lab/api/mod.ts";
import { service } from "../../../support/objects.ts";
import { random, seeds } from "../../../support/random.ts";
import { cleanups, until } from "../../kernel/cluster/support.ts";

setDefaultTimeout(40_000);
const cleanup = cleanups();
afterEach(cleanup.run);

interface Agent {
  readonly log: TestLogger;
  /** What its status says of Services. */
  problems(): Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

interface AgentOptions {
  readonly ranges?: readonly string[];
  /** Milliseconds by which its watch lags; what comes after waits as well. */
  readonly lag?: (event: { readonly type: string; readonly name: string }) => number;
  readonly wrap?: (api: ClusterApi) => ClusterApi;
}

let lives = 0;

/** An allocator as an agent has it, on a watch that may lag, in order. */
function start(lab: LabApi, options: AgentOptions = {}): Agent {
  const { ranges = ["10.9.0.0/24", "fd00:9::/120"], lag = () => 0, wrap = (api) => api } = options;
  const store = createStore<Service>("services");
  const read = (raw: unknown) => trim("services", raw) as Service;
  store.replace(lab.list("Service").map(read), lab.resourceVersion);
  let last = Promise.resolve();
  const leave = lab.on(({ kind, type, object }) => {
    if (kind.plural !== "services") return;
    const told = Bun.sleep(lag({ type, name: object.metadata?.name ?? "" }));
    last = last.then(() => told).then(() => {
      const one = read(object);
      const { namespace, name, resourceVersion } = one.metadata;
      store.update(
        [[`${namespace}/${name}`, type === "DELETED" ? undefined : one]],
        resourceVersion,
      );
    });
  });
  const log = testLogger();
  const begun: (() => unknown)[] = [];
  const reconcilers: Reconciler[] = [];
  const settings: Settings = {
    ranges: parsePool(ranges),
    rule: { className: "ours", isDefault: true },
    lease: "kube-system/pool",
    identity: `agent-${++lives}`,
    syncMs: 60_000,
    prefix: "",
    times: { leaseSeconds: 5, renewMs: 3_000, retryMs: 30 },
  };
  setUpAllocator({
    stores: { services: store } as unknown as Stores,
    api: wrap(createClusterApi(createApiClient(masterCredentials(lab.url)))),
    log,
    metrics: noMetrics,
    input: (from, units) => storeInput(from, units, log),
    reconcile: (reconciler) => void reconcilers.push(reconciler),
    background: (begin) => void begun.push(begin),
  }, settings);
  const ends = begun.map((begin) => begin() as () => Promise<void>);
  const agent: Agent = {
    log,
    problems: () =>
      Object.fromEntries(reconcilers.flatMap((reconciler) =>
        [...reconciler.units()].map((unit) => {
          const said: string[] = [];
          reconciler.desired(unit, { want() {}, report: (text) => void said.push(text) });
          return [unit, said.join("; ")];
        })
      )),
    async stop() {
      await Promise.all(ends.splice(0).map((end) => end()));
      leave();
    },
  };
  cleanup.add(agent.stop);
  return agent;
}

function lab(): LabApi {
  const api = createApi();
  cleanup.add(() => api.close());
  return api;
}

function balanced(name: string, spec: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: {
      type: "LoadBalancer",
      clusterIP: "10.96.0.1",
      ipFamilies: ["IPv4"],
      ports: [{ port: 80 }],
      ...spec,
    },
  };
}

/** One that is older than all others. */
function old(name: string): object {
  const made = balanced(name);
  const metadata = { name, namespace: "default", creationTimestamp: "2020-01-01T00:00:00Z" };
  return { ...made, metadata };
}

const reference = (name: string) =>
  ({ apiVersion: "v1", kind: "Service", namespace: "default", name }) as const;
const messages = (api: LabApi): readonly string[] =>
  api.list("Event").map(({ reason, message }) => `${reason}: ${message}`);

describe("the view of Services", () => {
  const at = (resourceVersion: string, ip?: string): Service => ({
    ...service("default/a", { metadata: { uid: "one", resourceVersion } }),
    status: { loadBalancer: { ingress: ip === undefined ? [] : [{ ip }] } },
  });
  const ipOf = (one: Service | undefined) => one?.status.loadBalancer.ingress[0]?.ip;

  test("holds what was learnt until the watch is as far", () => {
    const store = createStore<Service>("services");
    store.replace([at("9")], "9");
    const view = newestOf(store);
    view.learn(at("11", "10.9.0.1"));
    // An older change comes by the watch only now.
    store.update([["default/a", at("10", "10.9.0.9")]], "10");
    expect(ipOf(view.get("default/a"))).toBe("10.9.0.1");
    expect(view.all().map(ipOf)).toEqual(["10.9.0.1"]);
    store.update([["default/a", at("12", "10.9.0.2")]], "12");
    expect(ipOf(view.get("default/a"))).toBe("10.9.0.2");
    view.learn(at("11", "10.9.0.1"));
    expect(ipOf(view.get("default/a"))).toBe("10.9.0.2");
  });

  test("does not hold what a list has shown to be over", () => {
    const store = createStore<Service>("services");
    store.replace([at("9")], "9");
    const view = newestOf(store);
    view.learn(at("11", "10.9.0.1"));
    // The address came and went while there was no watch; the store keeps the object that says the same.
    store.replace([at("12")], "13");
    expect(ipOf(view.get("default/a"))).toBeUndefined();
    expect(view.all().map(ipOf)).toEqual([undefined]);
    // To be written over it has to be read: then it is the same, and newer.
    view.learn(at("12"));
    expect(view.get("default/a")?.metadata.resourceVersion).toBe("12");
  });

  test("has what the watch does not have yet, and not what it has no more", () => {
    const store = createStore<Service>("services");
    store.replace([], "5");
    const view = newestOf(store);
    view.learn(at("7"));
    expect(view.all()).toHaveLength(1);
    store.update([], "8");
    expect(view.all()).toEqual([]);
    expect(view.get("default/a")).toBeUndefined();
  });

  test.each([["10", "9", true], ["9", "10", false], ["10", "10", false], [
    "90071992547409931",
    "90071992547409930",
    true,
  ]])("counts %s as later than %s: %p", (a, b, later) => expect(isLater(a, b)).toBe(later));
});

describe("the allocator", () => {
  test("writes over a Service that somebody changes all the time", async () => {
    const api = lab();
    let edits = 0;
    const edit = (): void => {
      const found = api.get(reference("a"));
      if (found === undefined || edits >= 5) return;
      // Annotations that no plugin reads: the store does not even notice.
      const annotations = { "example.com/edit": String(++edits) };
      api.apply({ ...found, metadata: { ...found.metadata, annotations } });
    };
    start(api, {
      wrap: (real) => ({
        ...real,
        patchIngress: async (...args) => {
          edit();
          return await real.patchIngress(...args);
        },
      }),
    });
    const seen = witness(api, () => false);
    api.apply(balanced("a"));
    await until("it has an address", () => seen.given.size === 1);
    expect(edits).toBe(5);
    expect(seen.faults).toEqual([]);
  });

  test("gives no second address where the answer to the first is lost, or the request", async () => {
    const api = lab();
    let writes = 0;
    start(api, {
      // Its watch tells it too late to help.
      lag: () => 2_000,
      wrap: (real) => ({
        ...real,
        patchIngress: async (...args) => {
          const which = ++writes;
          if (which % 3 === 1) throw new ApiFailed("unavailable", "Lost on the way");
          const answer = await real.patchIngress(...args);
          if (which % 3 === 2) throw new ApiFailed("unavailable", "Lost on the way back");
          return answer;
        },
      }),
    });
    const seen = witness(api, () => false);
    api.applyAll(Array.from({ length: 12 }, (_, i) => balanced(`s${i}`)));
    await until("all have an address", () => seen.given.size === 12);
    expect(seen.faults).toEqual([]);
    expect(new Set([...seen.given.values()].flat()).size).toBe(12);
  });

  test("says what it may not write, with the right that it lacks, and goes on when it has it", async () => {
    const api = lab();
    const agent = start(api);
    api.authorize(({ subresource }) => subresource !== "status");
    const seen = witness(api, () => false);
    api.apply(balanced("a"));
    await until("a problem", () => "default/a" in agent.problems());
    expect(agent.problems()["default/a"]).toContain('must allow "patch" of "services/status"');
    const denied = { loadBalancerIP: "10.8.0.1" };
    api.apply(balanced("b", { ...denied, ipFamilies: ["IPv4", "IPv6"] }));
    await until(
      "both reasons",
      () => /10\.8\.0\.1.*; Its status is not written/.test(agent.problems()["default/b"] ?? ""),
    );
    await Bun.sleep(100);
    expect(messages(api)).toHaveLength(1);
    api.authorize();
    await until("both have an address", () => seen.given.size === 2);
    await until("one problem", () => !("default/a" in agent.problems()));
  });

  test("writes once for each Service, however many come at once", async () => {
    const api = lab();
    const { below } = random(3);
    // Decided again while some are under way.
    start(api, {
      wrap: (real) => ({
        ...real,
        patchIngress: async (...args) => {
          await Bun.sleep(below(60));
          return await real.patchIngress(...args);
        },
      }),
    });
    api.resetStats();
    const seen = witness(api, () => false);
    api.applyAll(Array.from({ length: 200 }, (_, i) => balanced(`s${i}`)));
    await until("all have an address", () => seen.given.size === 200);
    await Bun.sleep(100);
    const patches = Object.entries(api.stats().requests).filter(([name]) =>
      name.startsWith("patch ")
    );
    expect(patches.map(([, count]) => count)).toEqual(Array(200).fill(1));
  });

  test("reads all Services again where it could not when it came to lead", async () => {
    const api = lab();
    let lists = 0;
    start(api, {
      wrap: (real) => ({
        ...real,
        list: async (kind) => {
          if (++lists === 1) throw new ApiFailed("unavailable", "No answer");
          return await real.list(kind);
        },
      }),
    });
    const seen = witness(api, () => false);
    api.apply(balanced("a"));
    await until("it has an address", () => seen.given.size === 1);
    expect(lists).toBe(2);
  });

  test("tells of a full pool once, and gives what comes free", async () => {
    const api = lab();
    const agent = start(api, { ranges: ["10.9.0.0/31"] });
    const seen = witness(api, () => false);
    api.applyAll(["a", "b", "c"].map((name) => balanced(name)));
    await until("a problem", () => Object.keys(agent.problems()).length === 1);
    await until("two have one", () => seen.given.size === 2);
    const [late = ""] = Object.keys(agent.problems());
    for (let i = 0; i < 5; i++) {
      api.apply({
        ...balanced("other", { type: "ClusterIP" }),
        metadata: { name: "other", namespace: "default", labels: { i: `${i}` } },
      });
      await Bun.sleep(30);
    }
    expect(messages(api).filter((text) => text.startsWith("AllocationFailed"))).toHaveLength(1);
    const [gone = ""] = seen.given.keys();
    api.delete(reference(gone));
    await until("who waited has it", () => seen.given.has(late.slice(8)));
    expect(seen.faults).toEqual([]);
  });

  test("leaves in a status what is not of the pool, and takes away what is when the type changes", async () => {
    const api = lab();
    api.apply({
      ...balanced("a", { type: "ClusterIP" }),
      status: {
        loadBalancer: {
          ingress: [{ hostname: "x.example" }, { ip: "10.9.0.4" }, { ip: "192.0.2.1" }],
        },
      },
    });
    const before = { loadBalancer: { ingress: [{ ip: "10.9.0.5" }] } };
    const theirs = balanced("theirs", { loadBalancerClass: "theirs" });
    api.apply({ ...theirs, status: before });
    const version = api.get(reference("theirs"))?.metadata?.resourceVersion;
    start(api);
    await until(
      "it is released",
      () => !JSON.stringify(api.get(reference("a"))).includes("10.9.0.4"),
    );
    expect(api.get(reference("a"))?.["status"]).toMatchObject({
      loadBalancer: { ingress: [{ hostname: "x.example" }, { ip: "192.0.2.1" }] },
    });
    await until("an Event", () => messages(api).includes("Released: Released 10.9.0.4"));
    expect(api.get(reference("theirs"))?.metadata?.resourceVersion).toBe(version);
  });

  test("leaves an address to a write of which nobody knows whether it comes yet", async () => {
    const api = lab();
    let first = true;
    start(api, {
      wrap: (real) => ({
        ...real,
        patchIngress: async (...args) => {
          if (!first) return await real.patchIngress(...args);
          first = false;
          setTimeout(() => void real.patchIngress(...args), 300);
          throw new ApiFailed("unavailable", "No answer");
        },
      }),
    });
    const seen = witness(api, () => false);
    api.apply(balanced("b"));
    await until("it was written", () => !first);
    // By its age this one would go first.
    api.apply(old("a"));
    await until("both have one", () => seen.given.size === 2);
    expect(Object.fromEntries(seen.given)).toEqual({ a: ["10.9.0.1"], b: ["10.9.0.0"] });
    await Bun.sleep(400);
    expect(seen.faults).toEqual([]);
  });

  test("writes what changed after a write, though the watch tells of it before the answer comes", async () => {
    const api = lab();
    let first = true;
    start(api, {
      wrap: (real) => ({
        ...real,
        patchIngress: async (...args) => {
          const answer = await real.patchIngress(...args);
          if (first) {
            first = false;
            const found = api.get(reference("a"));
            const spec = found?.["spec"] as object;
            api.apply({ ...found, spec: { ...spec, loadBalancerIP: "10.9.0.7" } } as object);
            // Time enough to decide on it.
            await Bun.sleep(300);
          }
          return answer;
        },
      }),
    });
    const seen = witness(api, () => false);
    api.apply(balanced("a"));
    await until("it has what it asks for", () => seen.given.get("a")?.join() === "10.9.0.7");
  });

  test("keeps the lease to its end where a write may be on its way still", async () => {
    const api = lab();
    const ranges = ["10.9.0.0/32"];
    let lost = false;
    const first = start(api, {
      ranges,
      wrap: (real) => ({
        ...real,
        patchIngress: async (...args) => {
          if (lost) return await real.patchIngress(...args);
          lost = true;
          setTimeout(() => void real.patchIngress(...args), 1_000);
          throw new ApiFailed("unavailable", "No answer");
        },
      }),
    });
    const seen = witness(api, () => false);
    api.apply(balanced("b"));
    await until("it was written", () => lost);
    await first.stop();
    // By its age this one would have the only address.
    api.apply(old("a"));
    const second = start(api, { ranges });
    await until("one lacks it", () => "default/a" in second.problems());
    expect(Object.fromEntries(seen.given)).toEqual({ b: ["10.9.0.0"] });
    expect(seen.faults).toEqual([]);
  });

  test("takes over what an earlier one gave, though its own watch has not told it", async () => {
    const api = lab();
    const seen = witness(api, () => false);
    const LATE = 60_000;
    const first = start(api, { lag: ({ name }) => name === "a" ? LATE : 0 });
    api.apply(balanced("c"));
    await until("it is at work", () => seen.given.size === 1);
    start(api, { lag: ({ type, name }) => type === "MODIFIED" && name === "b" ? LATE : 0 });
    api.applyAll([balanced("b"), old("a")]);
    await until("the first has given one more", () => seen.given.size === 2);
    await first.stop();
    // What the second knows of is two Services without an address, of which this one is the older.
    await until("the other has one too", () => seen.given.size === 3);
    expect(seen.faults).toEqual([]);
    expect(seen.given.get("b")).toEqual(["10.9.0.1"]);
  });

  test.each(seeds(4))(
    "gives nothing twice while Services, agents and answers come and go (seed %i)",
    async (seed) => {
      const { below, pick } = random(seed);
      const api = lab();
      const seen = witness(api, () => false);
      const options: AgentOptions = {
        ranges: ["10.9.0.0/27"],
        lag: () => below(4) === 0 ? below(120) : below(5),
        wrap: (real) => ({
          ...real,
          patchIngress: async (...args) => {
            const luck = below(20);
            if (luck === 0) throw new ApiFailed("unavailable", "Lost on the way");
            if (luck < 4) await Bun.sleep(below(60));
            const answer = await real.patchIngress(...args);
            if (luck === 4) throw new ApiFailed("unavailable", "Lost on the way back");
            return answer;
          },
        }),
      };
      let agents = [start(api, options), start(api, options)];
      for (let step = 0; step < 120; step++) {
        const name = `s${below(40)}`;
        const found = api.get(reference(name));
        const what = below(10);
        if (what < 4) api.delete(reference(name));
        else if (found === undefined) api.apply(balanced(name));
        else api.apply({ ...found, metadata: { ...found.metadata, labels: { step: `${step}` } } });
        if (below(20) === 0) {
          const one = pick(agents);
          await one.stop();
          agents = [...agents.filter((other) => other !== one), start(api, options)];
        }
        await Bun.sleep(below(25));
        expect(seen.faults).toEqual([]);
      }
      const services = api.list("Service").length;
      await until("all that can have one", () => seen.given.size === Math.min(services, 32));
      expect(seen.faults).toEqual([]);
    },
  );
});
