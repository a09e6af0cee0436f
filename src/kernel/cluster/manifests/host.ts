/** The host's own addresses, for the Node object that a folder of manifests need not hold. */

import { networkInterfaces } from "node:os";
import type { NodeAddress } from "../kinds.ts";

/** Links whose addresses are not the node's: VIPs, pods, containers. */
const FOREIGN =
  /^(lo$|kube-|docker\d|br-[0-9a-f]{12}$|cni|cali|flannel|veth|virbr|tun-|tunl\d|nodelocaldns)/;

export interface HostLinks {
  readonly [link: string]:
    | readonly { readonly address: string; readonly internal: boolean }[]
    | undefined;
}

/**
 * Addresses of type InternalIP, the primary one first: that from which this host would speak to the
 * world. Loopback, link-local and what is on pods' and VIPs' links is left out.
 */
export async function hostAddresses(
  links: HostLinks = networkInterfaces() as HostLinks,
  primary: readonly string[] | undefined = undefined,
): Promise<readonly NodeAddress[]> {
  const first = primary ?? await sourceAddresses();
  const found = Object.entries(links).flatMap(([link, addresses]) =>
    FOREIGN.test(link)
      ? []
      : (addresses ?? []).filter(({ internal, address }) => !internal && !isLinkLocal(address))
        .map(({ address }) => address)
  );
  const ordered = [...first.filter((address) => found.includes(address)), ...found];
  return [...new Set(ordered)].map((address) => ({ type: "InternalIP", address }));
}

/** IPv4 first. A connected UDP socket says which source Linux chose; nothing is sent. */
async function sourceAddresses(): Promise<readonly string[]> {
  const ask = async (hostname: string, bind: string) => {
    try {
      const socket = await Bun.udpSocket({ hostname: bind, connect: { hostname, port: 9 } });
      const { address } = socket.address;
      socket.close();
      return [address];
    } catch {
      // No route in this family: then it has no primary address either.
      return [];
    }
  };
  // Any address of the world will do; 2001:db8:: and 192.0.2.0 could be local in a lab.
  return (await Promise.all([ask("1.1.1.1", "0.0.0.0"), ask("2606:4700::1111", "::")])).flat();
}

function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/i.test(address) || address.startsWith("169.254.");
}
