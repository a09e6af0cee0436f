import { expect, test } from "bun:test";
import { buildInfo, createMetrics } from "../../../../src/kernel/observe/metrics.ts";
import { routerMetrics as roundMetrics } from "../../../../src/kernel/observe/rounds.ts";
import type { NeighborView, Speaker } from "../../../../src/plugins/router/bgp/mod.ts";
import { routerMetrics } from "../../../../src/plugins/router/metrics.ts";

/** Names, types and labels as kube-router 2.11 has them, without the prefix `kube_router_`. */
const KUBE_ROUTER: Readonly<Record<string, readonly [type: string, ...labels: string[]]>> = {
  build_info: ["gauge", "goversion", "version"],
  bgp_peer_info: ["gauge", "address", "type", "asn", "state"],
  controller_bgp_advertisements_received: ["counter"],
  controller_bgp_advertisements_sent: ["counter", "type"],
  controller_bgp_internal_peers_sync_time: ["histogram"],
  controller_routes_sync_time: ["histogram"],
  host_routes_sync_time: ["histogram"],
  host_routes_synced: ["gauge"],
  host_routes_added: ["counter"],
  host_routes_removed: ["counter"],
};
/** Only ours. */
const OWN = ["bgp_peer_up", "bgp_peer_flaps", "bgp_peer_prefixes", "bgp_peer_messages"];

const COUNTERS = { received: 2, accepted: 1, advertised: 3, stale: 0, endOfRib: true };
const MESSAGES = { open: 1, update: 2, notification: 0, keepalive: 4, refresh: 0 };
const NEIGHBOR = {
  address: "10.0.0.254",
  type: "external",
  asn: 0,
  configuredAsn: 64640,
  state: "OpenSent",
  flaps: 1,
  prefixes: { 4: COUNTERS, 6: COUNTERS },
  received: MESSAGES,
  sent: MESSAGES,
} as unknown as NeighborView;

async function text(): Promise<string> {
  const registry = await createMetrics();
  buildInfo(registry, "0.1.0");
  const router = routerMetrics(registry, {
    speaker: () => ({ neighbors: () => [NEIGHBOR] }) as unknown as Speaker,
    vips: { counts: { advertised: 5, withdrawn: 2 } },
    podCidrs: () => 1,
    learned: () => 7,
  });
  router.received(3);
  router.peersSynced(20);
  const rounds = roundMetrics(registry);
  rounds.round?.({ ms: 30, ok: true });
  rounds.ops?.("route", "create", true, 4);
  rounds.ops?.("route", "create", false, 9);
  rounds.ops?.("route", "delete", true, 3);
  rounds.ops?.("link", "create", true, 8);
  return await registry.text();
}

test("all of kube-router's metrics of routing are there by their names, types and labels", async () => {
  const lines = (await text()).split("\n");
  const found = Object.fromEntries(
    lines.flatMap((line) => {
      const [, name = "", type = ""] = /^# TYPE kube_router_(\S+) (\S+)$/.exec(line) ?? [];
      if (name === "") return [];
      const series = lines.find((each) => each.startsWith(`kube_router_${name}{`)) ?? "";
      const labels = [...series.matchAll(/([a-z_]+)="/g)].map(([, label = ""]) => label);
      return [[name, [type, ...labels.filter((label) => label !== "le")]]];
    }),
  );
  const theirs = Object.fromEntries(Object.entries(found).filter(([name]) => !OWN.includes(name)));
  expect(theirs as unknown).toEqual(KUBE_ROUTER);
  expect(Object.keys(found)).toEqual(expect.arrayContaining(OWN));
});

test("they say what happened, in seconds", async () => {
  const lines = (await text()).split("\n");
  expect(lines).toEqual(expect.arrayContaining([
    'kube_router_bgp_peer_info{address="10.0.0.254",type="external",asn="64640",state="opensent"} 1',
    'kube_router_controller_bgp_advertisements_sent{type="pod-route"} 1',
    'kube_router_controller_bgp_advertisements_sent{type="advertise-vip"} 5',
    'kube_router_controller_bgp_advertisements_sent{type="withdraw-vip"} 2',
    "kube_router_controller_bgp_advertisements_received 3",
    "kube_router_controller_bgp_internal_peers_sync_time_sum 0.02",
    "kube_router_controller_routes_sync_time_sum 0.03",
    "kube_router_host_routes_sync_time_count 1",
    "kube_router_host_routes_synced 7",
    "kube_router_host_routes_added 4",
    "kube_router_host_routes_removed 3",
  ]));
});
