import type { Logger } from "../observe/log.ts";
import type { ClusterSource } from "./source.ts";

export interface ApiSourceOptions {
  /** Path of a kubeconfig. Without it and without `master`: the service account in the pod. */
  readonly kubeconfig?: string;
  /** URL of the API server; overrides the kubeconfig's. */
  readonly master?: string;
  /** Name of the Node object of this host. */
  readonly nodeName: string;
  readonly log: Logger;
}

/** @throws {Error} where the credentials cannot be read, with the file, the reason and the remedy */
export function openApiSource(_options: ApiSourceOptions): Promise<ClusterSource> {
  return Promise.reject(new Error("Not built yet"));
}
