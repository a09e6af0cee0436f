/** This host's own Node, which everything of the router stands on. */

import type { Node } from "../../kernel/plugin.ts";
import { type EnabledFamilies, nodeAddresses, nodeFamilies } from "./node.ts";

export interface KnownNodes {
  /** All nodes; this host's as it was last seen with an address of an enabled family. */
  readonly nodes: readonly Node[];
  /** This host's own, as in `nodes`; absent before it was seen for the first time. */
  readonly own?: Node;
  /** What is wrong with it, with the remedy. */
  readonly problem?: string;
}

/**
 * Looks for the Node of this host and remembers it: one that is gone for a moment, or whose kubelet has cleared its addresses,
 * must take neither routes nor sessions along. This memory is the exception to "state decides", and lasts as long as
 * the process.
 */
export function ownNode(
  self: string,
  options: EnabledFamilies,
): (nodes: Iterable<Node>) => KnownNodes {
  let last: Node | undefined;
  return (nodes) => {
    const all = [...nodes];
    const now = all.find(({ metadata }) => metadata.name === self);
    if (now !== undefined && nodeFamilies(nodeAddresses(now), options).length > 0) {
      last = now;
      return { nodes: all, own: now };
    }
    const kept = last === undefined ? "" : "; what was last known of it stays in use";
    const problem = now === undefined
      ? `Node "${self}" not found${kept}; if that is not this node's name, correct --hostname-override, or NODE_NAME, ` +
        "or the host's name"
      : `Node "${self}" has no address of an enabled family in status.addresses${kept}; its kubelet or cloud controller ` +
        "has to set one";
    if (last === undefined) return { nodes: all, problem };
    return { nodes: [...all.filter((node) => node !== now), last], own: last, problem };
  };
}
