import { describe, expect, test } from "bun:test";
import {
  claimed,
  type Clock,
  elect,
  type Election,
  isFree,
  TIMES,
} from "../../../../plugins.d/lb-pool/election.ts";
import { ApiFailed, type Lease } from "../../../../src/kernel/cluster/cluster-api.ts";
import { silentLogger } from "../../../../src/kernel/observe/log.ts";
import { type ManualClock, manualClock, turn } from "../../../support/clock.ts";
import { random, seeds } from "../../../support/random.ts";

const KEY = "kube-system/lock";

/** A server's lease: each write must be over the last. */
function lock() {
  let lease: Lease | undefined;
  let version = 0;
  return {
    get lease() {
      return lease;
    },
    remove: () => void (lease = undefined),
    write(next: Lease): Lease {
      if (next.resourceVersion !== (lease?.resourceVersion ?? "")) {
        const gone = lease === undefined;
        throw new ApiFailed(gone ? "absent" : "conflict", "It is another by now");
      }
      return lease = { ...next, resourceVersion: String(++version) };
    },
  };
}

interface Candidate {
  readonly election: Election;
  readonly changes: readonly boolean[];
  /** It stands still from now on: SIGSTOP, a long collection, a suspended machine. */
  pause(): void;
  resume(): void;
  /** What it asks gets no answer any more; what it has asked may still arrive. */
  cut(): void;
  mend(): void;
  readonly paused: boolean;
}

interface CandidateOptions {
  readonly clock: ManualClock;
  readonly server: ReturnType<typeof lock>;
  readonly identity: string;
  /** By how much its clock is ahead, ms, and how fast it is. */
  readonly ahead?: number;
  readonly speed?: number;
  /** Milliseconds on the way to the server, and back. */
  readonly delay?: () => number;
  readonly loses?: () => boolean;
}

const SILENCE_MS = 4_000;

function candidate(options: CandidateOptions): Candidate {
  const { clock, server, identity, ahead = 0, speed = 1 } = options;
  const { delay = () => 1, loses = () => false } = options;
  let paused = false;
  let isCut = false;
  const late: (() => void)[] = [];
  const own: Clock = {
    now: () => ahead + clock.now() * speed,
    after: (ms, run) => clock.after(ms / speed, () => paused ? late.push(run) : run()),
  };
  const sleep = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));
  async function ask<T>(what: () => T): Promise<T> {
    const answer = Promise.withResolvers<T>();
    own.after(SILENCE_MS, () => answer.reject(new ApiFailed("unavailable", "No answer")));
    void (async () => {
      await sleep(delay());
      if (isCut || loses()) return;
      let result: T;
      try {
        result = what();
      } catch (error) {
        return answer.reject(error);
      }
      await sleep(delay());
      if (!isCut && !loses()) own.after(0, () => answer.resolve(result));
    })();
    return await answer.promise;
  }
  const changes: boolean[] = [];
  const election = elect({
    api: {
      getLease: () => ask(() => server.lease),
      writeLease: (_, lease) => ask(() => server.write(lease)),
    },
    key: KEY,
    identity,
    log: silentLogger,
    clock: own,
    onChange: (leads) => void changes.push(leads),
  });
  return {
    election,
    changes,
    pause: () => void (paused = true),
    resume() {
      paused = false;
      for (const run of late.splice(0)) run();
    },
    cut: () => void (isCut = true),
    mend: () => void (isCut = false),
    get paused() {
      return paused;
    },
  };
}

function several(count: number, more: Partial<CandidateOptions> = {}) {
  const clock = manualClock();
  const server = lock();
  const all = Array.from(
    { length: count },
    (_, i) => candidate({ clock, server, identity: `agent-${i}`, ...more }),
  );
  return {
    clock,
    server,
    all,
    leader: () => all.find(({ election, paused }) => !paused && election.leads()),
  };
}

describe("a lease", () => {
  const lease: Lease = { ...claimed(undefined, "a", 15), resourceVersion: "1" };

  test("may be taken after its length, by the clock of whoever has waited for so long", () => {
    expect(isFree({ lease, at: 1_000 }, "b", 15_999)).toBeFalse();
    expect(isFree({ lease, at: 1_000 }, "b", 16_000)).toBeTrue();
    expect(isFree({ lease, at: 1_000 }, "a", 1_000)).toBeTrue();
    expect(isFree({ lease: { ...lease, holder: "" }, at: 1_000 }, "b", 1_000)).toBeTrue();
  });

  test("that another takes counts one transition more, and renewing it none", () => {
    const date = new Date("2026-01-01T00:00:00Z");
    const taken = claimed({ ...lease, transitions: 3 }, "b", 15, date);
    expect(taken).toEqual({
      holder: "b",
      durationSeconds: 15,
      acquireTime: "2026-01-01T00:00:00.000000Z",
      renewTime: "2026-01-01T00:00:00.000000Z",
      transitions: 4,
      resourceVersion: "1",
    });
    const later = claimed(taken, "b", 15, new Date("2026-01-01T00:00:02Z"));
    expect(later).toMatchObject({ transitions: 4, acquireTime: taken.acquireTime });
  });

  test("leaves its holder time to stop before another may take it", () => {
    expect(TIMES.leaseSeconds * 1000 - TIMES.renewMs).toBeGreaterThan(SILENCE_MS);
  });
});

describe("of several candidates", () => {
  test("one leads, and goes on leading", async () => {
    const { clock, all, server, leader } = several(3);
    await clock.advance(5_000);
    const first = leader();
    await clock.advance(120_000);
    expect(leader()).toBe(first);
    expect(all.map(({ changes }) => changes.length).toSorted()).toEqual([0, 0, 1]);
    expect(server.lease?.transitions).toBe(0);
  });

  test("another leads when the first is cut off, and it stops by itself before that", async () => {
    const { clock, leader, server } = several(2);
    await clock.advance(5_000);
    const first = leader();
    first?.cut();
    await clock.advance(12_001);
    expect(first?.election.leads()).toBeFalse();
    await clock.advance(8_000);
    expect(leader()).not.toBe(first);
    expect(server.lease?.transitions).toBe(1);
    // It competes again, and waits.
    first?.mend();
    await clock.advance(30_000);
    expect(first?.changes).toEqual([true, false]);
  });

  test("one that ends gives it to the next at once", async () => {
    const { all, clock, leader, server } = several(2);
    await clock.advance(5_000);
    const first = leader();
    const ended = first?.election.stop();
    await clock.advance(10);
    await ended;
    expect(server.lease?.holder).toBe("");
    await clock.advance(2_500);
    const others = all.filter((each) => each !== first);
    expect(others.map(({ election }) => election.leads())).toEqual([true]);
  });

  test("no two lead when somebody deletes the lease", async () => {
    const { clock, all, server, leader } = several(3);
    await clock.advance(5_000);
    const first = leader();
    first?.cut();
    server.remove();
    for (let i = 0; i < 300; i++) {
      await clock.advance(100);
      expect(all.filter(({ election }) => election.leads()).length).toBeLessThan(2);
    }
    const others = all.filter((each) => each !== first);
    expect(others.map(({ election }) => election.leads()).toSorted()).toEqual([false, true]);
  });

  test.each(seeds(25))(
    "no two ever lead, with wrong clocks, lost answers, pauses and ends (seed %i)",
    async (seed) => {
      const { below, pick } = random(seed);
      const clock = manualClock();
      const server = lock();
      let losses = 0;
      const make = (identity: string): Candidate =>
        candidate({
          clock,
          server,
          identity,
          ahead: below(10_000_000) - 5_000_000,
          speed: 0.95 + below(11) / 100,
          delay: () => below(10) === 0 ? below(3_000) : below(50),
          loses: () => below(100) < losses,
        });
      let lives = 3;
      const all = Array.from({ length: lives }, (_, i) => make(`agent-${i}`));
      let led = 0;
      for (let step = 0; step < 400; step++) {
        await clock.advance(50 + below(1_000));
        const leaders = all.filter(({ election, paused }) => !paused && election.leads());
        expect(leaders.length).toBeLessThan(2);
        led += leaders.length;
        const one = pick(all);
        switch (below(40)) {
          case 0:
            losses = pick([0, 5, 30]);
            break;
          case 1:
            one.pause();
            break;
          case 2:
            one.cut();
            break;
          case 3:
            void one.election.stop();
            all[all.indexOf(one)] = make(`agent-${lives++}`);
            break;
          default:
            if (below(5) === 0) one.resume();
            if (below(5) === 0) one.mend();
        }
      }
      losses = 0;
      for (const one of all) {
        one.resume();
        one.mend();
      }
      await clock.advance(40_000);
      await turn();
      expect(all.filter(({ election }) => election.leads())).toHaveLength(1);
      expect(led).toBeGreaterThan(50);
    },
  );
});
