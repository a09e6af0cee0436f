/** What the tests of the cluster share. */

import { setDefaultTimeout } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ApiSourceOptions,
  type ClusterSource,
  openApiSource,
} from "../../../../src/kernel/cluster/mod.ts";
import type { Tuning } from "../../../../src/kernel/cluster/informer.ts";
import { silentLogger } from "../../../../src/kernel/observe/log.ts";

// Above what `until` waits, whose message says what was awaited.
setDefaultTimeout(40_000);

/** Waits for what comes by itself; fails, with what is awaited in the message, when it does not. */
export async function until(
  what: string,
  holds: () => boolean,
  seconds = 20,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Not in ${seconds} s: ${what}`);
    await Bun.sleep(5);
  }
}

/** Undone in reverse order by `cleanUp`. */
export interface Cleanups {
  readonly add: (undo: () => unknown) => void;
  readonly run: () => Promise<void>;
}

export function cleanups(): Cleanups {
  const undos: (() => unknown)[] = [];
  return {
    add: (undo) => void undos.push(undo),
    run: async () => {
      for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) await undo();
    },
  };
}

export function temporaryFolder(cleanups: Cleanups): string {
  const folder = mkdtempSync(join(tmpdir(), "routelet-cluster-"));
  cleanups.add(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Short times, so that faults pass in tests as they do in life. */
export const QUICK: Partial<Tuning> = {
  backoff: { minMs: 5, maxMs: 100 },
};

export async function openSource(
  cleanups: Cleanups,
  options: Partial<ApiSourceOptions>,
): Promise<ClusterSource> {
  const source = await openApiSource({
    nodeName: "node1",
    log: silentLogger,
    freeze: true,
    ...options,
    tuning: { ...QUICK, ...options.tuning },
  });
  cleanups.add(() => source.stop());
  return source;
}

export function service(name: string, spec: object = {}): {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: object;
} {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { clusterIP: "10.96.0.10", ports: [{ port: 80 }], ...spec },
  };
}

export function node(name: string): object {
  return { apiVersion: "v1", kind: "Node", metadata: { name } };
}
