import type { Resource } from "../resource.ts";

/**
 * Hairpin mode of the ports of a bridge that lead to pods (veth): a frame may leave by the port that it came in by.
 * Mark: bridge and port are in the owner's ledger; the ports that were off go back to it when it is no longer wanted.
 */
export interface BridgeHairpin {
  /** Name of the bridge. */
  readonly bridge: string;
  /** Set on items read from Linux alone: some of its ports are off, new ones say. */
  readonly partial?: boolean;
}

export const bridgeHairpin: Resource<BridgeHairpin> = {
  kind: "bridge.hairpin",
  key: (h) => h.bridge,
  equal: (want, have) => (want.partial ?? false) === (have.partial ?? false),
  describe: (h) => `hairpin mode of the ports of ${h.bridge}`,
  after: () => "as it was before, on each port",
};
