/** The cluster from an API server. */

import type { Logger } from "../observe/log.ts";
import { createApiClient } from "./api-client.ts";
import { createClusterApi } from "./api-writer.ts";
import type { Credentials } from "./credentials.ts";
import { createStores } from "./gate.ts";
import { inClusterCredentials, masterCredentials } from "./in-cluster.ts";
import { type Informer, startInformer, TUNING, type Tuning } from "./informer.ts";
import { KIND_NAMES, type KindName } from "./kinds.ts";
import type { ClusterSource, Watch } from "./source.ts";

export interface ApiSourceOptions {
  /** Path of a kubeconfig. Without it and without `master`: the service account in the pod. */
  readonly kubeconfig?: string;
  /** URL of the API server; overrides the kubeconfig's. */
  readonly master?: string;
  /** Name of the Node object of this host. */
  readonly nodeName: string;
  readonly log: Logger;
  readonly tuning?: Partial<Tuning>;
  /** Freezes objects, all the way down; for tests. */
  readonly freeze?: boolean;
}

/**
 * Reads the credentials, and sends nothing yet.
 *
 * @throws {CredentialsError} where they cannot be had, with the file, the reason and the remedy
 */
export async function openApiSource(options: ApiSourceOptions): Promise<ClusterSource> {
  return createApiSource(await credentialsOf(options), options);
}

/** By kubeconfig, by `--master` alone, or by the pod's service account: the first that is given. */
export async function credentialsOf(
  { kubeconfig, master }: Pick<ApiSourceOptions, "kubeconfig" | "master">,
): Promise<Credentials> {
  if (kubeconfig !== undefined && kubeconfig !== "") {
    // Late: it needs a YAML parser, which a pod does without.
    const { kubeconfigCredentials } = await import("./kubeconfig.ts");
    return await kubeconfigCredentials(kubeconfig, master === "" ? undefined : master);
  }
  if (master !== undefined && master !== "") return masterCredentials(master);
  return await inClusterCredentials();
}

export function createApiSource(
  credentials: Credentials,
  { nodeName, log, tuning, freeze = false }: Omit<ApiSourceOptions, "kubeconfig" | "master">,
): ClusterSource {
  const client = createApiClient(credentials);
  const { stores, writable, open } = createStores({
    freeze,
    onListenerError: (error) => log.error("Subscriber of a store threw", { error }),
  });
  const informers = new Map<KindName, { readonly informer: Informer; readonly self: boolean }>();
  let stopped = false;

  function startKind<K extends KindName>(kind: K, self: boolean): void {
    open(kind);
    informers.set(kind, {
      self,
      informer: startInformer({
        kind,
        client,
        store: writable[kind],
        log,
        ...(self ? { name: nodeName } : {}),
        tuning: { ...TUNING, ...tuning },
      }),
    });
  }

  return {
    stores,
    api: createClusterApi(client),
    get state() {
      const kinds = KIND_NAMES.flatMap((kind) => informers.get(kind)?.informer.state ?? []);
      return {
        from: client.server,
        connected: kinds.length > 0 && kinds.every(({ connected }) => connected),
        kinds,
      };
    },
    start: (watches: readonly Watch[]) => {
      if (stopped) return;
      for (const kind of KIND_NAMES) {
        const wanted = watches.filter((watch) => watch.kind === kind);
        if (wanted.length === 0) continue;
        const self = wanted.every(({ only }) => only === "self");
        const running = informers.get(kind);
        if (running === undefined) startKind(kind, self);
        else if (running.self && !self) {
          // All instead of one: what the store holds stays until the wider list is in.
          void running.informer.stop();
          startKind(kind, false);
        }
      }
    },
    stop: async () => {
      stopped = true;
      await Promise.all([...informers.values()].map(({ informer }) => informer.stop()));
    },
  };
}
