import { describe, expect, test } from "bun:test";
import type { NeighborView } from "../../../../src/plugins/router/bgp/mod.ts";
import { firstRoutes } from "../../../../src/plugins/router/first-routes.ts";

const COUNTERS = { received: 0, accepted: 0, advertised: 0, stale: 0, endOfRib: false };

function neighbor(more: {
  readonly address?: string;
  readonly state?: NeighborView["state"];
  readonly graceful?: boolean;
  readonly ended?: boolean;
  readonly families?: NeighborView["families"];
  readonly established?: number;
}): NeighborView {
  const counters = { ...COUNTERS, endOfRib: more.ended === true };
  return {
    address: more.address ?? "10.0.0.2",
    state: more.state ?? "Established",
    established: more.established ?? 1,
    families: more.families ?? [4],
    capabilities: { sent: [], received: more.graceful === true ? ["graceful-restart"] : [] },
    prefixes: { 4: counters, 6: counters },
  } as unknown as NeighborView;
}

const speaker = (neighbors: readonly NeighborView[], settled = true) => ({
  settled: () => settled,
  neighbors: () => neighbors,
});
const RESTART = { restartMs: 60_000, deferralMs: 360_000 };

describe("the first routes after a restart are known", () => {
  const known = () => firstRoutes({ settleAfter: 15_000, restart: RESTART });

  test("when every peer has said End-of-RIB, and not before the speaker is settled", () => {
    const all = [neighbor({ ended: true }), neighbor({ address: "10.0.0.3", ended: true })];
    expect(known()(speaker(all), 4, 0)).toBe(true);
    expect(known()(speaker(all, false), 4, 100_000)).toBe(false);
  });

  test("not while a peer that restarts as well has not said it, however long that takes", () => {
    const both = speaker([neighbor({ ended: true }), neighbor({ graceful: true })]);
    expect([0, 16_000, 100_000].map((at) => known()(both, 4, at))).toEqual([false, false, false]);
    // RFC 4724 section 4.1: no longer than the deferral time.
    expect(known()(both, 4, 360_000)).toBe(true);
  });

  test("not while a peer is away that may still come back, also where the speaker waits no more", () => {
    const away = speaker([neighbor({ state: "Connect", graceful: true })]);
    expect([16_000, 59_000, 60_000].map((at) => known()(away, 4, at))).toEqual([
      false,
      false,
      true,
    ]);
  });

  test("some time into a session with a peer that says no End-of-RIB, and not into the start", () => {
    const plain = known();
    expect(plain(speaker([neighbor({ state: "Active" })]), 4, 14_000)).toBe(false);
    const up = speaker([neighbor({})]);
    expect([20_000, 34_000, 35_000].map((at) => plain(up, 4, at))).toEqual([false, false, true]);
    // Another session begins anew.
    const again = speaker([neighbor({ established: 2 })]);
    expect([36_000, 51_000].map((at) => plain(again, 4, at))).toEqual([false, true]);
  });

  test("of a family that no session carries at once", () => {
    expect(known()(speaker([neighbor({ graceful: true })]), 6, 0)).toBe(true);
  });
});

test("a first start, or one without graceful restart, waits for nobody longer than it takes to settle", () => {
  const known = firstRoutes({ settleAfter: 15_000 });
  expect(known(speaker([]), 4, 0)).toBe(true);
  const one = speaker([neighbor({ state: "Idle" }), neighbor({ graceful: true })]);
  expect([0, 14_000, 15_000].map((at) => known(one, 4, at))).toEqual([false, false, true]);
});
