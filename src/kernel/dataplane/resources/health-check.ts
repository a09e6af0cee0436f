import type { Resource } from "../resource.ts";

/**
 * A Service's health check node port (KEP-3836, semantics S9): external load balancers ask it whether this node has an
 * endpoint of the Service. Mark: the listening socket is this process's own; it goes with it.
 */
export interface HealthCheck {
  /** TCP port, on all addresses of the node. */
  readonly port: number;
  readonly namespace: string;
  readonly name: string;
  /** Endpoints on this node that are ready and do not terminate. */
  readonly localEndpoints: number;
}

export const healthCheck: Resource<HealthCheck> = {
  kind: "health.check",
  key: (h) => `port ${h.port}`,
  equal: (want, have) =>
    want.namespace === have.namespace && want.name === have.name &&
    want.localEndpoints === have.localEndpoints,
  describe: (h) =>
    `health check on port ${h.port} of Service ${h.namespace}/${h.name}: ${h.localEndpoints} local endpoints`,
  exclusive: true,
  inProcess: true,
};
