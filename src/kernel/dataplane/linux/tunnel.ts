/** The ends of ipip and ip6tnl links (linux/if_tunnel.h): the same attributes for both types. Pure writing and reading. */

import type { Tunnel } from "../resources/link.ts";
import type { AttributeReader, AttributeWriter } from "./attribute.ts";

const IFLA_INFO_DATA = 2;
const IFLA_IPTUN_LOCAL = 2;
const IFLA_IPTUN_REMOTE = 3;
const IFLA_IPTUN_TTL = 4;
const IFLA_IPTUN_FLAGS = 8;
const IFLA_IPTUN_PROTO = 9;
const IFLA_IPTUN_PMTUDISC = 10;
const IFLA_IPTUN_ENCAP_TYPE = 15;
const IFLA_IPTUN_ENCAP_FLAGS = 16;
const IFLA_IPTUN_ENCAP_SPORT = 17;
const IFLA_IPTUN_ENCAP_DPORT = 18;

const TUNNEL_ENCAP_GUE = 2;
/** UDP over IPv6 needs its checksum: packets without are dropped (RFC 8200 section 8.1). */
const TUNNEL_ENCAP_FLAG_CSUM6 = 2;
/** Without the destination option of RFC 2473, which many networks drop, and which takes 8 bytes of each packet. */
const IP6_TNL_F_IGN_ENCAP_LIMIT = 1;

/** Writes IFLA_INFO_DATA. */
export function writeTunnelData(w: AttributeWriter, tunnel: Tunnel): void {
  const v6 = tunnel.remote.includes(":");
  w.nested(IFLA_INFO_DATA, (data) => {
    data.address(IFLA_IPTUN_LOCAL, tunnel.local);
    data.address(IFLA_IPTUN_REMOTE, tunnel.remote);
    data.u8(IFLA_IPTUN_TTL, tunnel.ttl);
    // 0: takes any protocol inside.
    data.u8(IFLA_IPTUN_PROTO, 0);
    if (v6) data.u32(IFLA_IPTUN_FLAGS, IP6_TNL_F_IGN_ENCAP_LIMIT);
    // The inner packet's DF bit decides; with a fixed TTL Linux insists on path MTU discovery.
    else data.u8(IFLA_IPTUN_PMTUDISC, tunnel.ttl === 0 ? 0 : 1);
    if (tunnel.gue === undefined) return;
    data.u16(IFLA_IPTUN_ENCAP_TYPE, TUNNEL_ENCAP_GUE);
    data.u16(IFLA_IPTUN_ENCAP_FLAGS, v6 ? TUNNEL_ENCAP_FLAG_CSUM6 : 0);
    // 0: by the flow, so that routers between balance.
    data.u16be(IFLA_IPTUN_ENCAP_SPORT, 0);
    data.u16be(IFLA_IPTUN_ENCAP_DPORT, tunnel.gue.port);
  });
}

/** Reads IFLA_INFO_DATA; undefined for a tunnel that lacks an end, as the one that each namespace has by itself. */
export function decodeTunnelData(info: AttributeReader): Tunnel | undefined {
  let local = "";
  let remote = "";
  let ttl = 0;
  let type = 0;
  let port = 0;
  info.nested((data) => {
    while (data.next()) {
      switch (data.type) {
        case IFLA_IPTUN_LOCAL:
          local = data.address();
          break;
        case IFLA_IPTUN_REMOTE:
          remote = data.address();
          break;
        case IFLA_IPTUN_TTL:
          ttl = data.u8();
          break;
        case IFLA_IPTUN_ENCAP_TYPE:
          type = data.u16();
          break;
        case IFLA_IPTUN_ENCAP_DPORT:
          port = data.u16be();
          break;
      }
    }
  });
  if (isNone(local) || isNone(remote)) return undefined;
  return { local, remote, ttl, ...(type === TUNNEL_ENCAP_GUE ? { gue: { port } } : {}) };
}

function isNone(address: string): boolean {
  return address === "" || address === "0.0.0.0" || address === "::";
}
