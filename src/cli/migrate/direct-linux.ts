/** Reads what kube-router's direct server return left in Linux beyond iptables and IPVS, and puts our mark on it. */

import { dumpAddresses } from "../../kernel/dataplane/linux/address.ts";
import { writeAlias } from "../../kernel/dataplane/linux/link-messages.ts";
import { dumpTunnels } from "../../kernel/dataplane/linux/pod.ts";
import { PodNamespaces, within } from "../../kernel/dataplane/linux/pod-namespaces.ts";
import { AF_INET, AF_INET6, Rtnl } from "../../kernel/dataplane/linux/rtnl.ts";
import { dumpRules, type RuleInfo, takeRule } from "../../kernel/dataplane/linux/rule.ts";
import { OWNERS } from "../agent.ts";
import type { PodTunnel } from "./direct-return.ts";

/** Policy rules of others. @throws {KernelError} */
export async function otherRules(): Promise<readonly RuleInfo[]> {
  const ours = new Set(OWNERS.map(({ protocol }) => protocol));
  const rtnl = new Rtnl();
  try {
    return (await dumpRules(rtnl)).filter(({ protocol }) => !ours.has(protocol));
  } finally {
    rtnl.close();
  }
}

/** Tunnels without a mark in all network namespaces but the node's own. @throws {KernelError} */
export async function podTunnels(): Promise<readonly PodTunnel[]> {
  const found: PodTunnel[] = [];
  for (const namespace of new PodNamespaces().all()) {
    const its = await within(namespace, async (rtnl) => {
      const tunnels = (await dumpTunnels(rtnl)).filter(({ alias }) => alias === "");
      if (tunnels.length === 0) return [];
      const addresses = [
        ...await dumpAddresses(rtnl.socket, AF_INET),
        ...await dumpAddresses(rtnl.socket, AF_INET6),
      ];
      return tunnels.map(({ index, name, alias, local }): PodTunnel => ({
        namespace,
        name,
        alias,
        pod: local,
        addresses: addresses.flatMap((each) => each.index === index ? [each.address] : []),
      }));
    });
    found.push(...its ?? []);
  }
  return found;
}

/** @throws {KernelError} */
export function adoptRule(info: RuleInfo, plugin: string): void {
  const owner = OWNERS.find(({ name }) => name === plugin);
  if (owner === undefined) throw new Error(`"${plugin}" owns nothing in Linux`);
  const rtnl = new Rtnl();
  try {
    takeRule(rtnl, info, owner);
  } finally {
    rtnl.close();
  }
}

/** Marks a tunnel as the agent marks its own in pods. A pod that is gone meanwhile needs none. @throws {KernelError} */
export async function adoptTunnel({ namespace, name }: PodTunnel, plugin: string): Promise<void> {
  const alias = `routelet:${plugin}:${new PodNamespaces().own}`;
  await within(namespace, (rtnl) =>
    rtnl.socket.request(
      "adopt tunnel",
      (w) => writeAlias(w, name, alias),
      () => {},
      name,
    ));
}
