/** What tests of the router share: options at the flags' defaults, nodes, subnets. */

import { defaultFlags } from "../../src/cli/flags.ts";
import type { HostAddress, Node } from "../../src/kernel/plugin.ts";
import type { RouterOptions } from "../../src/plugins/router/options.ts";
import { node } from "./objects.ts";

export function routerOptions(changes: Partial<RouterOptions> = {}): RouterOptions {
  return { ...defaultFlags(), ...changes };
}

/** A node with internal addresses, pod CIDRs and annotations. */
export function routerNode(
  name: string,
  addresses: readonly string[],
  annotations: Readonly<Record<string, string>> = {},
  podCIDRs: readonly string[] = [],
): Node {
  return node(name, {
    addresses: addresses.map((address) => ({ type: "InternalIP", address })),
    podCIDRs,
    metadata: { annotations },
  });
}

/** An address of the host on a link: "10.0.0.1/24". */
export function onLink(link: string, text: string, mtu = 1500): HostAddress {
  const [address = "", prefix = ""] = text.split("/");
  return { link, family: address.includes(":") ? 6 : 4, address, prefix: Number(prefix), mtu };
}
