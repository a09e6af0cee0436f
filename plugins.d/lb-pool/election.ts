/**
 * One of many: whoever holds a Lease works, the others wait, as client-go's leader election does it.
 *
 * Times of other hosts are never compared with our own: a candidate waits for a lease's length from the moment at which it saw
 * the lease change itself. And a holder stops on its own, by its own clock, well before anybody may take the lease: `renewMs`
 * after it *began* its last renewal that succeeded. So no two hold it at once, as long as clocks run about equally fast.
 */

import type { ClusterApi, Lease, Logger } from "../../src/kernel/third-party.ts";

export interface ElectionOptions {
  readonly api: Pick<ClusterApi, "getLease" | "writeLease">;
  /** "namespace/name" of the lease. */
  readonly key: string;
  /** Nobody else's, not even that of the same host before a restart. */
  readonly identity: string;
  readonly log: Logger;
  /** Told when it begins and when it ends. */
  readonly onChange: (leads: boolean) => void;
  /** Told why the lease cannot be had or kept, and with nothing when that is over. */
  readonly onProblem?: (reason?: string) => void;
  readonly times?: Times;
  readonly clock?: Clock;
}

/** Milliseconds that only go forward, and a timer; what `after` gives ends it. */
export interface Clock {
  now(): number;
  after(ms: number, run: () => void): () => void;
}

const CLOCK: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export interface Times {
  /** Seconds after its last renewal at which others may take the lease. */
  readonly leaseSeconds: number;
  /** Milliseconds after which a holder that cannot renew it stops; less than the lease by what a write may take. */
  readonly renewMs: number;
  /** Milliseconds between tries. */
  readonly retryMs: number;
}

/** kube-router's and client-go's. */
export const TIMES: Times = { leaseSeconds: 15, renewMs: 10_000, retryMs: 2_000 };

export interface Election {
  /** Whether it may write now. Ask right before each write. */
  leads(): boolean;
  /**
   * Gives the lease back, so that nobody waits for its end.
   *
   * @param keep leaves it to end by itself: what was written may be on its way still
   */
  stop(keep?: boolean): Promise<void>;
}

interface Seen {
  readonly lease: Lease;
  /** When it was first seen like this, by our own clock. */
  readonly at: number;
}

/** Whether a lease may be taken, or renewed. */
export function isFree({ lease, at }: Seen, identity: string, now: number): boolean {
  return lease.holder === "" || lease.holder === identity ||
    now >= at + lease.durationSeconds * 1000;
}

/** The lease as its holder writes it. */
export function claimed(
  before: Lease | undefined,
  identity: string,
  leaseSeconds: number,
  date = new Date(),
): Lease {
  const time = microTime(date);
  const renewed = before?.holder === identity;
  return {
    holder: identity,
    durationSeconds: leaseSeconds,
    acquireTime: renewed ? before.acquireTime : time,
    renewTime: time,
    transitions: before === undefined ? 0 : before.transitions + (renewed ? 0 : 1),
    resourceVersion: before?.resourceVersion ?? "",
  };
}

function microTime(date: Date): string {
  return date.toISOString().replace("Z", "000Z");
}

export function elect(options: ElectionOptions): Election {
  const { api, key, identity, log, onChange, times = TIMES, clock = CLOCK } = options;
  const { onProblem = () => {} } = options;
  let seen: Seen | undefined;
  /** Until when we hold it. */
  let until = -Infinity;
  let led = false;
  let lastProblem = "";
  let cancelTry = (): void => {};
  let cancelEnd = (): void => {};
  let stopped = false;

  const leads = (): boolean => clock.now() < until;

  function tell(): void {
    if (leads() === led) return;
    led = !led;
    log.info(led ? "Leading" : "Leading no more", { lease: key, identity });
    onChange(led);
  }

  function see(lease: Lease | undefined): void {
    if (lease === undefined) {
      // Deleted by somebody; its holder may not know yet, so that it holds for as long as it would have.
      if (seen !== undefined) seen = { ...seen, lease: { ...seen.lease, resourceVersion: "" } };
    } else if (lease.resourceVersion !== seen?.lease.resourceVersion) {
      if (lease.holder !== identity && lease.holder !== seen?.lease.holder) {
        log.info("Lease held by another", { lease: key, holder: lease.holder || "nobody" });
      }
      seen = { lease, at: clock.now() };
    }
  }

  async function attempt(): Promise<void> {
    const began = clock.now();
    // Who leads knows the lease; if it was changed all the same, the write is refused.
    if (!leads()) see(await api.getLease(key));
    if (seen !== undefined && !isFree(seen, identity, clock.now())) return;
    try {
      see(await api.writeLease(key, claimed(seen?.lease, identity, times.leaseSeconds)));
      if (!stopped) until = began + times.renewMs;
    } catch (error) {
      const code = codeOf(error);
      if (code !== "conflict" && code !== "absent") throw error;
      see(await api.getLease(key));
      if (seen?.lease.holder !== identity) until = -Infinity;
    }
  }

  async function run(): Promise<void> {
    try {
      await attempt();
      if (lastProblem !== "") onProblem();
      lastProblem = "";
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== lastProblem) {
        log.warn("Cannot reach the lease", { lease: key, reason });
        onProblem(reason);
      }
      lastProblem = reason;
    }
    if (stopped) return;
    tell();
    cancelEnd();
    if (leads()) cancelEnd = clock.after(Math.max(0, until - clock.now()) + 1, tell);
    // Candidates do not all come at the same moment.
    cancelTry = clock.after(times.retryMs * (leads() ? 1 : 1 + Math.random() / 5), next);
  }

  let running = Promise.resolve();
  const next = (): void => void (running = run());
  next();

  return {
    leads,
    async stop(keep = false) {
      stopped = true;
      cancelTry();
      cancelEnd();
      const held = leads();
      until = -Infinity;
      tell();
      await running;
      if (keep || !held || seen?.lease.holder !== identity) return;
      const given = { ...claimed(seen.lease, identity, 1), holder: "" };
      await api.writeLease(key, given).catch(() => {
        // It ends by itself.
      });
    },
  };
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | undefined)?.code;
}
