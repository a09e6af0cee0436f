/** The dataplane's interface: real (`linux/`), fake (`fake.ts`) and recording (`record.ts`). */

import type { Table, TableRef } from "./resource.ts";

/** Who writes: its name goes into every mark, its protocol number on every route and rule. */
export interface Owner {
  /** Plugin name, `[a-z][a-z0-9-]*`. */
  readonly name: string;
  /** Route protocol number (rtnetlink `rtm_protocol`): 201 to 203 for the built-ins, 204 to 254 by configuration. */
  readonly protocol: number;
}

/** Access to Linux. A table is opened for one owner. */
export interface Dataplane {
  /** Opens a kind for an owner. Opening does not touch Linux; `list` and `apply` do. */
  open<T>(ref: TableRef<T>, owner: Owner): Table<T>;
  /** Releases sockets and timers; Linux stays as it is. */
  close(): Promise<void>;
}
