/** The API server as one plugin may use it: what it did not declare is refused, whatever RBAC allows the agent. */

import { ApiFailed, type ApiWrite, type ClusterApi } from "../cluster/cluster-api.ts";
import type { KindName, Watch } from "../cluster/store.ts";

export interface ApiAccess {
  readonly plugin: string;
  readonly watches: readonly Watch[];
  readonly writes: readonly ApiWrite[];
  /** A third party's: it must not take the place of another by mistake, so its leases have its name. */
  readonly isGuest: boolean;
}

/** @param api absent where objects come from a folder of manifests */
export function restrictedApi(access: ApiAccess, api: ClusterApi | undefined): ClusterApi {
  const { plugin, watches, writes, isGuest } = access;

  const refuse = (what: string, remedy: string): never => {
    throw new ApiFailed("forbidden", `Plugin "${plugin}" ${what}; ${remedy}`);
  };
  const mayRead = (kind: KindName): void => {
    if (!watches.some((watch) => watch.kind === kind)) {
      refuse(`reads "${kind}", which its field "watches" does not name`, "add it there");
    }
  };
  const mayWrite = (what: ApiWrite): void => {
    if (!writes.includes(what)) {
      refuse(`writes "${what}", which its field "writes" does not name`, "add it there");
    }
  };
  const mayLease = (key: string): void => {
    mayWrite("leases");
    const name = key.slice(key.indexOf("/") + 1);
    if (isGuest && name !== plugin && !name.startsWith(`${plugin}-`)) {
      refuse(`uses the lease "${key}"`, `allowed are those named ${plugin} or ${plugin}-…`);
    }
  };
  const server = (): ClusterApi => {
    if (api !== undefined) return api;
    throw new ApiFailed(
      "unavailable",
      "There is no API server to write to: objects come from a folder of manifests",
    );
  };

  // All of them promises, so that a refusal is met where every other failure is.
  return {
    list: async (kind) => {
      mayRead(kind);
      return await server().list(kind);
    },
    get: async (kind, key) => {
      mayRead(kind);
      return await server().get(kind, key);
    },
    patchIngress: async (service, ingress) => {
      mayWrite("services/status");
      // A plugin in JavaScript may leave it out as well.
      if (!service.metadata.resourceVersion) {
        throw new ApiFailed("invalid", "A Service is written by what was read, and this was not");
      }
      return await server().patchIngress(service, ingress);
    },
    emit: async (event) => {
      mayWrite("events");
      mayRead(event.kind);
      await server().emit(event);
    },
    getLease: async (key) => {
      mayLease(key);
      return await server().getLease(key);
    },
    writeLease: async (key, lease) => {
      mayLease(key);
      if (typeof lease.resourceVersion !== "string") {
        throw new ApiFailed(
          "invalid",
          'A lease is written by what was read: its "resourceVersion" is a text, empty for a new one',
        );
      }
      return await server().writeLease(key, lease);
    },
  };
}
