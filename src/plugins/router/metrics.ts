/** Metrics of the router, by kube-router's names, and what only we count of each peer. */

import type { Metrics, Sample } from "../../kernel/plugin.ts";
import type { FamilyCounters, MessageCounters, NeighborView, Speaker } from "./bgp/mod.ts";
import type { VipSet } from "./vip-set.ts";

export interface RouterMetrics {
  /** Best paths that changed, own ones and withdrawals included, as kube-router counts them. */
  received(count: number): void;
  /** How long it took to find out with whom to peer and to tell the speaker. */
  peersSynced(ms: number): void;
}

export interface MeasuredRouter {
  speaker(): Speaker | undefined;
  readonly vips: Pick<VipSet, "counts">;
  /** How many pod CIDRs are announced. */
  podCidrs(): number;
  /** How many learned prefixes are to be in Linux. */
  learned(): number;
}

const MESSAGES: readonly (keyof MessageCounters)[] = [
  "open",
  "update",
  "notification",
  "keepalive",
  "refresh",
];
const FAMILIES = [4, 6] as const;

export function routerMetrics(metrics: Metrics, router: MeasuredRouter): RouterMetrics {
  const received = metrics.counter(
    "controller_bgp_advertisements_received",
    "Changes of best paths that BGP brought",
  );
  const peers = metrics.histogram(
    "controller_bgp_internal_peers_sync_time",
    "Time it took for the sync of BGP peers to complete",
  );
  const neighbors = (): readonly NeighborView[] => router.speaker()?.neighbors() ?? [];
  const sampled = (
    type: "counter" | "gauge",
    name: string,
    help: string,
    labels: readonly string[],
    of: (neighbor: NeighborView) => readonly Sample[],
  ): void => metrics.sampled(type, name, help, labels, () => neighbors().flatMap(of));

  sampled(
    "gauge",
    "bgp_peer_info",
    "BGP peers by address, type, AS number and state; always 1",
    ["address", "type", "asn", "state"],
    ({ address, type, asn, configuredAsn, state }) => [{
      labels: { address, type, asn: asn === 0 ? configuredAsn : asn, state: state.toLowerCase() },
      value: 1,
    }],
  );
  metrics.sampled(
    "counter",
    "controller_bgp_advertisements_sent",
    "Routes announced and withdrawn, by type",
    ["type"],
    () => [
      { labels: { type: "pod-route" }, value: router.podCidrs() },
      { labels: { type: "advertise-vip" }, value: router.vips.counts.advertised },
      { labels: { type: "withdraw-vip" }, value: router.vips.counts.withdrawn },
    ],
  );
  metrics.sampled(
    "gauge",
    "host_routes_synced",
    "Learned prefixes that are to be in Linux",
    [],
    () => [
      { value: router.learned() },
    ],
  );

  sampled(
    "gauge",
    "bgp_peer_up",
    "1 while the session with a peer is established",
    ["address"],
    ({ address, state }) => [{ labels: { address }, value: state === "Established" ? 1 : 0 }],
  );
  sampled(
    "counter",
    "bgp_peer_flaps",
    "Times that the session with a peer was lost",
    ["address"],
    ({ address, flaps }) => [{ labels: { address }, value: flaps }],
  );
  sampled(
    "gauge",
    "bgp_peer_prefixes",
    "Prefixes of a peer by family and kind",
    ["address", "family", "kind"],
    ({ address, prefixes }) =>
      FAMILIES.flatMap((family) =>
        (["received", "accepted", "advertised", "stale"] as const).map((kind) => ({
          labels: { address, family: `ipv${family}`, kind },
          value: (prefixes[family] as FamilyCounters)[kind],
        }))
      ),
  );
  sampled(
    "counter",
    "bgp_peer_messages",
    "BGP messages exchanged with a peer by direction and type",
    ["address", "direction", "type"],
    ({ address, ...neighbor }) =>
      (["received", "sent"] as const).flatMap((direction) =>
        MESSAGES.map((type) => ({
          labels: { address, direction, type },
          value: neighbor[direction][type],
        }))
      ),
  );
  return {
    received: (count) => received.inc(count),
    peersSynced: (ms) => peers.observe(ms / 1000),
  };
}
