/** The allocator of LoadBalancer addresses, by compiled agents on this host, against the lab's API server. */

import { afterEach, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  addresses,
  type Agent,
  holder,
  witness,
  type World,
  world,
} from "./loadbalancer/agents.ts";

const PLUGIN = resolve(import.meta.dir, "../../plugins.d/lb-pool");
const LEASE = "kube-router-lballoc";

let open: World | undefined;
afterEach(async () => {
  await open?.close();
  open = undefined;
});

function balanced(name: string, spec: object = {}, annotations: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default", annotations },
    spec: { type: "LoadBalancer", ports: [{ port: 80 }], selector: { app: name }, ...spec },
  };
}

const DUAL = { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv4", "IPv6"] };

/** A mix: of 20 Services one asks for an address, two want both families, two share one address. */
function mixed(i: number): object {
  const name = `svc-${i}`;
  // Later, others may have taken it.
  if (i % 20 === 1 && i < 1_000) {
    return balanced(name, { loadBalancerIP: `10.250.3.${i / 20 | 0}` });
  }
  if (i % 20 === 2 || i % 20 === 3) return balanced(name, DUAL);
  if (i % 20 === 4 || i % 20 === 5) {
    const key = { "routelet.io/allow-shared-ip": `pair-${i / 20 | 0}` };
    return balanced(name, { ports: [{ port: 80 + i % 20 }] }, key);
  }
  return balanced(name);
}

const pairOf = (name: string): string => {
  const i = Number(name.slice(4));
  return i % 20 === 4 || i % 20 === 5 ? `pair-${i / 20 | 0}` : name;
};

function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = server;
  server.stop();
  return port;
}

const lacks = process.getuid?.() === 0 ? "" : " (left out: agents run as root)";

describe(`the allocator${lacks}`, () => {
  test.skipIf(lacks !== "")(
    "serves 1,000 Services at once through a killed and a stopped leader: no address twice, none lost",
    async () => {
      const { api, start, until } = open = world();
      const flags = [
        "--run-loadbalancer",
        "--loadbalancer-ip-range=10.250.0.0/22,fd00:250::/112",
      ];
      const agents = new Map<string, Agent>();
      const begin = (name: string): void => void agents.set(name, start(name, ...flags));
      const leader = (): string => holder(api, LEASE);
      let kill: { readonly at: number; readonly how: NodeJS.Signals } | undefined = {
        at: 300,
        how: "SIGKILL",
      };
      let victim = "";
      const seen = witness(api, (a, b) => pairOf(a) === pairOf(b), (services) => {
        if (kill === undefined || services < kill.at) return;
        victim = leader();
        agents.get(victim)?.signal(kill.how);
        kill = undefined;
      });
      const saw = () => ({ given: seen.given.size, leader: leader(), victim });

      for (const name of ["one", "two"]) begin(name);
      await until("an agent leads", () => leader() !== "", saw);
      api.applyAll(Array.from({ length: 1_000 }, (_, i) => mixed(i)));
      await until("the leader was killed in the middle", () => victim !== "", saw);
      const killed = victim;
      // What was on its way when it died has arrived.
      await agents.get(killed)?.ended;
      const early = new Map(seen.given);
      expect(early.size).toBeLessThan(700);
      await until("all have addresses", () => seen.given.size === 1_000, saw);
      expect(leader()).not.toBe(killed);
      expect(seen.faults).toEqual([]);
      for (const [name, given] of early) expect(seen.given.get(name)).toEqual(given);
      for (const [name, given] of seen.given) {
        const i = Number(name.slice(4));
        expect(given).toHaveLength([2, 3].includes(i % 20) ? 2 : 1);
        if (i % 20 === 1) expect(given).toEqual([`10.250.3.${i / 20 | 0}`]);
      }

      // A leader that stands still and wakes up later must not write as if nothing had happened.
      begin(killed);
      for (let i = 0; i < 200; i++) {
        const name = `svc-${i}`;
        api.delete({ apiVersion: "v1", kind: "Service", namespace: "default", name });
      }
      expect(seen.given.size).toBe(800);
      victim = "";
      kill = { at: 850, how: "SIGSTOP" };
      api.applyAll(Array.from({ length: 200 }, (_, i) => mixed(1_000 + i)));
      await until("the leader was stopped in the middle", () => victim !== "", saw);
      const stopped = victim;
      await until("another leads", () => leader() !== stopped, saw);
      agents.get(stopped)?.signal("SIGCONT");
      await until("all have addresses", () => seen.given.size === 1_000, saw);

      // One that ends by itself gives the lease back.
      const last = leader();
      agents.get(last)?.signal("SIGTERM");
      expect(await agents.get(last)?.ended).toBe(0);
      await until("the other leads", () => !["", last].includes(leader()), saw, 12);
      api.apply(balanced("svc-2000"));
      await until("one more has an address", () => seen.given.has("svc-2000"), saw);
      expect(seen.faults).toEqual([]);
    },
    240_000,
  );

  test.skipIf(lacks !== "")(
    "dropped in as a plugin it does the same, and says what is wrong where people look",
    async () => {
      const { api, folder, start, until } = open = world();
      const plugins = join(folder, "plugins.d");
      mkdirSync(plugins, { mode: 0o755 });
      cpSync(PLUGIN, join(plugins, "lb-pool"), { recursive: true });
      // Whatever the checkout's umask was.
      Bun.spawnSync(["chmod", "-R", "go-w", plugins]);
      writeFileSync(
        join(plugins, "lb-pool.yaml"),
        "ranges: [10.9.0.1-10.9.0.3, 'fd00:9::/126', 'blue=10.9.1.0/30']\ndefault-class: true\n",
      );
      api.authorize(({ resource, verb }) => resource !== "leases" || verb === "get");
      const metrics = freePort();
      const agent = start("one", `--plugins-dir=${plugins}`, `--metrics-port=${metrics}`);
      await until(
        "the missing right is named",
        () =>
          /problem.*lease kube-system\/lb-pool.*must allow "create" of "leases/s.test(
            agent.status(),
          ),
        agent.status,
      );
      api.authorize();
      const of = (name: string) =>
        addresses(api.get({ apiVersion: "v1", kind: "Service", namespace: "default", name }));
      const events = (name: string): readonly string[] =>
        api.list("Event", "default").filter(({ involvedObject }) =>
          (involvedObject as { name?: string }).name === name
        ).map(({ reason, message }) => `${reason}: ${message}`);
      const saw = () => api.list("Service").map((one) => [one.metadata?.name, addresses(one)]);

      api.applyAll([
        balanced("a", DUAL),
        balanced("b", { loadBalancerIP: "10.9.0.3" }),
        balanced("blue", {}, { "routelet.io/address-pool": "blue" }),
        balanced("foreign", { loadBalancerClass: "example.com/other" }),
        balanced("outside", { loadBalancerIP: "10.8.0.1" }),
      ]);
      await until("all that can have one have one", () => of("blue").length === 1, saw);
      await until("two more", () => of("a").length === 2 && of("b").length === 1, saw);
      expect(of("b")).toEqual(["10.9.0.3"]);
      expect(of("blue")).toEqual(["10.9.1.0"]);
      api.applyAll([balanced("c"), balanced("d")]);
      await until("one is left without", () => of("c").length + of("d").length === 1, saw);
      const [without = "", other = ""] = of("c").length === 0 ? ["c", "d"] : ["d", "c"];
      await until("it is told why", () => events(without).length > 0, () => api.list("Event"));
      expect(events(without)).toEqual([
        "AllocationFailed: No IPv4 address is free: all 3 of the pool are in use; add a range, or delete Services",
      ]);
      await until(
        "so is who asks for the status",
        () => agent.status().includes(`service default/${without}`),
        agent.status,
      );
      let text = "";
      const measured = async (...lines: readonly string[]): Promise<boolean> => {
        text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
        return lines.every((line) => text.includes(`kube_router_plugin_lb_pool_${line}`));
      };
      await until("it is measured", () =>
        measured(
          'used{pool="",family="IPv4"} 3',
          'addresses{pool="blue",family="IPv4"} 4',
          "failing 2",
          "leading 1",
        ), () => text);
      expect(events("outside").join()).toContain("10.8.0.1, which is in no range");
      expect(of("foreign")).toEqual([]);

      // What goes makes room for who waits.
      const [freed] = of(other);
      api.delete({ apiVersion: "v1", kind: "Service", namespace: "default", name: other });
      await until("who waited has it", () => of(without).length === 1, saw);
      expect(of(without)).toEqual([freed ?? ""]);
      await until("and is told", () => events(without).length === 2, () => events(without));
      expect(events(without)[1]).toBe(`Allocated: Assigned ${freed}`);

      // Another type has no addresses.
      const address = { loadBalancer: { ingress: [{ ip: "10.9.0.3" }] } };
      const spec = { type: "ClusterIP", loadBalancerIP: undefined };
      api.apply({ ...balanced("b", spec), status: address });
      await until("it is released", () => of("b").length === 0, saw);

      // Away for a while, the API server finds it at work again.
      api.fail("down", 3);
      await Bun.sleep(3_000);
      api.apply(balanced("late"));
      await until("it has an address", () => of("late").length === 1, saw);
      agent.signal("SIGTERM");
      expect(await agent.ended).toBe(0);
      expect(holder(api, "lb-pool")).toBe("");
      expect(agent.log()).not.toContain("Plugin degraded");
    },
    120_000,
  );
});
