/**
 * `network_programming_duration_seconds`, the SLI of Kubernetes' scalability group: from the change of a Service or of a
 * ready pod, as the endpoint controller noted it, to the moment when Linux has it.
 */

import type { EndpointSlice, Store } from "../cluster/store.ts";
import type { Metrics } from "./metrics.ts";

const TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time";
/** kube-proxy's: 0.25 to 0.5 s, 1 to 59 s by 1, 60 to 115 by 5, 120 to 300 by 30. */
const BUCKETS: readonly number[] = [
  0.25,
  0.5,
  ...steps(1, 59, 1),
  ...steps(60, 115, 5),
  ...steps(120, 300, 30),
];

function steps(from: number, to: number, by: number): readonly number[] {
  return Array.from({ length: (to - from) / by + 1 }, (_, i) => from + i * by);
}

/** Notes triggers as slices change, and measures when a round has carried them out. */
export interface ProgrammingLatency {
  /** A round begins with what has come until now. */
  roundStarts(): void;
  /** That round has ended, in success or not. */
  roundEnds(ok: boolean): void;
}

/** @param now Unix time in ms */
export function programmingLatency(
  slices: Store<EndpointSlice>,
  metrics: Metrics,
  now: () => number = Date.now,
): ProgrammingLatency {
  const histogram = metrics.histogram(
    "kubeproxy_network_programming_duration_seconds",
    "In-cluster network programming latency in seconds",
    [],
    BUCKETS,
  );
  let waiting: number[] = [];
  let taken: number[] = [];
  let synced = slices.synced;
  slices.subscribe((changes) => {
    // What was there before this agent says nothing of its speed.
    const first = !synced;
    synced = slices.synced;
    if (first) return;
    for (const { previous, current } of changes) {
      const text = current?.metadata.annotations[TRIGGER];
      if (text === undefined || text === previous?.metadata.annotations[TRIGGER]) continue;
      const trigger = Date.parse(text);
      if (!Number.isNaN(trigger)) waiting.push(trigger);
    }
  });
  return {
    roundStarts() {
      taken = [...taken, ...waiting];
      waiting = [];
    },
    roundEnds(ok) {
      if (!ok) return;
      const end = now();
      for (const trigger of taken) histogram.observe(Math.max(0, end - trigger) / 1000);
      taken = [];
    },
  };
}
