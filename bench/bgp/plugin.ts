/**
 * The router plugin around a real speaker, in one process with the peer that it speaks to over loopback, on a Linux in memory:
 *
 * - `vips`: with N VIPs announced, one Service comes and goes; time until the peer has it, CPU of a change.
 * - `feed`: one peer announces N prefixes by a next hop on a link of ours; time until the plugin has decided about them all.
 *
 * `bench/bgp/plugin.ts vips|feed [COUNT…]` (default 10000 and 100000). Ratios between counts say what a change costs by: with
 * work that is the change's own the time of ten times as many VIPs is the same. Needs root: it makes a namespace for its addresses.
 */
import { fakeDataplane } from "../../src/kernel/dataplane/fake.ts";
import type { Plugin } from "../../src/kernel/plugin.ts";
import { createSpeaker, type LocalRoute, type Speaker } from "../../src/plugins/router/bgp/mod.ts";
import { routerPlugin } from "../../src/plugins/router/mod.ts";
import { testCluster } from "../../test/support/cluster.ts";
import { service } from "../../test/support/objects.ts";
import { onLink, routerNode, routerOptions } from "../../test/support/router-world.ts";
import { bench } from "../../test/support/runtime.ts";

const CHANGES = 200;
const PORT = 11_790;
const US = "10.77.0.1";
const THEM = "10.77.0.2";

function address(first: number, i: number): string {
  return `${first}.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
}

/** The other end: told what we announce, by prefix. */
async function peer(routes: readonly LocalRoute[]): Promise<{
  readonly speaker: Speaker;
  readonly has: Set<string>;
  until(test: () => boolean): Promise<void>;
}> {
  const has = new Set<string>();
  let check = (): void => {};
  const speaker = createSpeaker({
    asn: 65001,
    routerId: THEM,
    listen: [{ address: THEM, port: PORT }],
  });
  speaker.onBest((changes) => {
    for (const { prefix, paths } of changes) {
      if (paths.length > 0) has.add(prefix);
      else has.delete(prefix);
    }
    check();
  });
  speaker.setLocalRoutes(routes);
  speaker.setPeers([{ address: US, asn: 64512, localAddress: THEM, port: PORT }]);
  await speaker.start();
  return {
    speaker,
    has,
    until: (test) =>
      new Promise((resolve) => {
        check = () => {
          if (!test()) return;
          check = () => {};
          resolve();
        };
        check();
      }),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

function world(services: number) {
  const cluster = testCluster();
  cluster.put("nodes", routerNode("node1", [US], {}, ["10.244.1.0/24"]));
  cluster.put(
    "services",
    ...Array.from(
      { length: services },
      (_, i) => service(`default/s${i}`, { clusterIPs: [address(100, i + 1)] }),
    ),
  );
  cluster.sync();
  const linux = fakeDataplane();
  linux.seed("link", { name: "eth0", type: "dummy", up: true });
  const made = bench([routerPlugin() as unknown as Plugin<never>], {
    cluster,
    linux,
    host: [onLink("eth0", `${US}/24`)],
    options: routerOptions({
      advertiseClusterIp: true,
      bgpPort: PORT,
      peerRouterIps: [THEM],
      peerRouterAsns: [65001],
      peerRouterPorts: [PORT],
    }),
  });
  return { ...made, cluster };
}

async function vips(count: number): Promise<string> {
  const other = await peer([]);
  const made = world(count);
  const start = performance.now();
  await made.runtime.start();
  await made.settle();
  await other.until(() => other.has.size >= count);
  const first = performance.now() - start;
  const times: number[] = [];
  const cpu = process.cpuUsage();
  for (let i = 0; i < CHANGES; i++) {
    const begin = performance.now();
    const vip = address(101, i + 1);
    made.cluster.put("services", service("default/new", { clusterIPs: [vip] }));
    await other.until(() => other.has.has(`${vip}/32`));
    times.push(performance.now() - begin);
  }
  const { user, system } = process.cpuUsage(cpu);
  await made.runtime.stop();
  await other.speaker.stop();
  return `${first.toFixed(0)} ms for all, then a change ${median(times).toFixed(2)} ms (p99 ${
    times.toSorted((a, b) => a - b)[Math.floor(CHANGES * 0.99)]?.toFixed(2)
  }), CPU ${((user + system) / 1000 / CHANGES).toFixed(2)} ms`;
}

async function feed(count: number): Promise<string> {
  const routes = Array.from(
    { length: count },
    (_, i): LocalRoute => ({ prefix: `${address(20 + (i >> 16), (i & 65535) << 8)}/24` }),
  );
  const made = world(0);
  await made.runtime.start();
  await made.settle();
  const before = process.memoryUsage().rss;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const other = await peer(routes);
  const owned = (): number =>
    made.linux.dump().split("\n").filter((l) => l.startsWith("route")).length;
  let last = -1;
  for (;;) {
    await Bun.sleep(200);
    await made.settle();
    const now = made.linux.count("route", "create");
    if (now === last && now > 0) break;
    last = now;
  }
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const grown = (process.memoryUsage().rss - before) / count;
  const text = `${owned()} routes in ${wall.toFixed(0)} ms, CPU ${
    ((user + system) / 1000).toFixed(0)
  } ms, ${grown.toFixed(0)} B a route (both speakers and Linux's copy included)`;
  await made.runtime.stop();
  await other.speaker.stop();
  return text;
}

if (process.env["BENCH_NAMESPACE"] === undefined) {
  const { exitCode } = Bun.spawnSync([
    ...["unshare", "--net", "sh", "-c"],
    `ip link set lo up && ip address add ${US}/24 dev lo && ip address add ${THEM}/24 dev lo && exec "$@"`,
    ...["sh", process.execPath, ...process.argv.slice(1)],
  ], {
    env: { ...process.env, BENCH_NAMESPACE: "1" },
    stdout: "inherit",
    stderr: "inherit",
  });
  process.exit(exitCode);
}
const [what = "vips", ...counts] = process.argv.slice(2);
const MEASURES: Readonly<Record<string, (count: number) => Promise<string>>> = { vips, feed };
const measure = MEASURES[what];
if (measure === undefined) throw new Error(`There is no measure "${what}"; choose vips or feed`);
for (const count of counts.length > 0 ? counts.map(Number) : [10_000, 100_000]) {
  console.log(`${what} ${count}: ${await measure(count)}`);
}
process.exit(0);
