/**
 * Writes decisions into Services' statuses, a few at a time. Each write is over the very object that was decided on; what has
 * changed since is read anew and decided anew.
 */

import type { ClusterApi, Logger, Service } from "../../src/kernel/third-party.ts";
import { addressesOf, ingressWith, keyOf } from "./claims.ts";
import { type Range, rangeOf } from "./pool.ts";
import type { View } from "./view.ts";

/** Writes that are under way at once. */
const AT_ONCE = 16;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 60_000;

export interface Job {
  readonly service: Service;
  /** All that its status should have of the pool. */
  readonly addresses: readonly string[];
}

export interface WriterOptions {
  readonly api: Pick<ClusterApi, "get" | "patchIngress">;
  readonly view: View;
  readonly ranges: readonly Range[];
  /** Whether to write; asked before each write. */
  readonly may: () => boolean;
  readonly onWritten: (
    before: Service,
    added: readonly string[],
    removed: readonly string[],
  ) => void;
  /** What is known has changed, or a write can be tried again: decide anew. */
  readonly onChange: () => void;
  readonly log: Logger;
}

export interface Writer {
  /** These and no others are to be written; those under way go on. */
  todo(jobs: readonly Job[]): void;
  /** Addresses that may be on their way into a status, by the Service's key. */
  reserved(): ReadonlyMap<string, readonly string[]>;
  /** Why a Service's last write failed, by its key. */
  readonly failures: ReadonlyMap<string, { readonly reason: string }>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

interface Failure {
  readonly reason: string;
  readonly attempts: number;
  readonly at: number;
}

export function writerOf(options: WriterOptions): Writer {
  const { api, view, ranges, may, onWritten, onChange, log } = options;
  let jobs = new Map<string, Job>();
  const running = new Map<string, Promise<void>>();
  /** Written over this resourceVersion; without an answer, or with none yet. */
  const unsure = new Map<
    string,
    { readonly addresses: readonly string[]; readonly over: string }
  >();
  const failures = new Map<string, Failure>();

  function pump(): void {
    for (const [key, job] of jobs) {
      if (running.size >= AT_ONCE || !may()) return;
      if (running.has(key) || (failures.get(key)?.at ?? 0) > performance.now()) continue;
      jobs.delete(key);
      running.set(
        key,
        write(key, job).catch((error: unknown) => fail(key, error)).finally(() => {
          running.delete(key);
          // Decided on what it was before. If the watch has told more by then, no other event asks again.
          if (jobs.delete(key)) onChange();
          pump();
        }),
      );
    }
  }

  async function write(key: string, { service, addresses }: Job): Promise<void> {
    unsure.set(key, { addresses, over: service.metadata.resourceVersion });
    try {
      view.learn(await api.patchIngress(service, ingressWith(service, ranges, addresses)));
    } catch (error) {
      const code = codeOf(error);
      // Without an answer it may still be on its way, until a later write or a change of the Service makes it void.
      if (code !== "unavailable") unsure.delete(key);
      if (code !== "conflict") throw error;
      const now = await api.get("services", key);
      if (now === undefined) throw error;
      view.learn(now);
      onChange();
      return;
    }
    unsure.delete(key);
    failures.delete(key);
    const before = addressesOf(service).filter((text) => rangeOf(ranges, text) !== undefined);
    const added = addresses.filter((text) => !before.includes(text));
    const removed = before.filter((text) => !addresses.includes(text));
    onWritten(service, added, removed);
    // Somebody may wait for what is free now.
    if (removed.length > 0) onChange();
  }

  function fail(key: string, error: unknown): void {
    const attempts = (failures.get(key)?.attempts ?? 0) + 1;
    const wait = Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LAST_RETRY_MS);
    const reason = error instanceof Error ? error.message : String(error);
    failures.set(key, { reason, attempts, at: performance.now() + wait });
    log.debug("Status not written", { service: key, reason });
    setTimeout(onChange, wait + 1).unref();
    onChange();
  }

  return {
    failures,
    todo(wanted) {
      jobs = new Map(wanted.map((job) => [keyOf(job.service), job]));
      for (const key of failures.keys()) {
        if (!jobs.has(key) && !running.has(key)) failures.delete(key);
      }
      pump();
    },
    reserved() {
      for (const [key, { over }] of unsure) {
        if (running.has(key) || view.get(key)?.metadata.resourceVersion === over) continue;
        unsure.delete(key);
      }
      return new Map([...unsure].map(([key, { addresses }]) => [key, addresses]));
    },
    async idle() {
      while (running.size > 0) await Promise.all(running.values());
    },
  };
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | undefined)?.code;
}
