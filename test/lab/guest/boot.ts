/** `boot.json`, by which the host side tells the guest what to do. */

export type Place = "host" | "uml" | "kernel";

/** All paths are the host's, which the guest sees under the same names. */
export interface Boot {
  readonly place: Place;
  /** Folder for the job's logs, output and status, shared with the host. */
  readonly job: string;
  readonly out: string;
  /** Folders that stay shared with the host; all others are copy-on-write. */
  readonly shared: readonly string[];
  /** Folders that the guest's own mounts would hide. */
  readonly visible: readonly string[];
  readonly bun: string;
  /** The machine room, bundled. */
  readonly room: string;
  /** The LAB command. */
  readonly lab: string;
  readonly routelet: string;
  readonly script: string;
  readonly cwd: string;
  /** The topology's folder. */
  readonly folder: string;
  /** The topology as read, not yet checked. */
  readonly topology: unknown;
  /** All objects of its manifests. */
  readonly objects: readonly object[];
  readonly modules: readonly string[];
  readonly readySeconds: number;
  readonly env: Readonly<Record<string, string>>;
}
