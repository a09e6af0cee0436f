import type { Logger } from "../observe/log.ts";
import type { ClusterSource } from "./source.ts";

export interface ManifestSourceOptions {
  readonly directory: string;
  /** Name of the Node object of this host. */
  readonly nodeName: string;
  readonly log: Logger;
}

export function openManifestSource(_options: ManifestSourceOptions): ClusterSource {
  throw new Error("Not built yet");
}
