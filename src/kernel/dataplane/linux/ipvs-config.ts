/** IPVS's connection time-outs: what `ipvsadm --set` sets. They hold for the whole network namespace. */

import { GENL_HEADER } from "./genl.ts";
import { beginIpvs, IPVS_CMD_GET_CONFIG, IPVS_CMD_SET_CONFIG } from "./ipvs-codec.ts";
import type { IpvsHandle } from "./ipvs-connection.ts";
import type { MessageWriter } from "./message.ts";

const IPVS_CMD_ATTR_TIMEOUT_TCP = 4;
const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN = 5;
const IPVS_CMD_ATTR_TIMEOUT_UDP = 6;

/** Seconds that an idle connection is kept. */
export interface IpvsTimeouts {
  readonly tcp: number;
  /** After a FIN was seen. */
  readonly tcpFin: number;
  readonly udp: number;
}

/** Writes one SET_CONFIG message. Linux leaves a time-out of 0 as it is. */
export function writeIpvsTimeouts(
  w: MessageWriter,
  familyId: number,
  timeouts: IpvsTimeouts,
): void {
  beginIpvs(w, familyId, IPVS_CMD_SET_CONFIG);
  w.u32(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts.tcp);
  w.u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts.tcpFin);
  w.u32(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts.udp);
  w.end();
}

/** Sets the time-outs. @throws {KernelError} EINVAL for more seconds than Linux takes */
export function setIpvsTimeouts(handle: IpvsHandle, timeouts: IpvsTimeouts): void {
  handle.socket.request("set ipvs timeouts", (w) => {
    writeIpvsTimeouts(w, handle.familyId, timeouts);
  });
}

/** Reads the time-outs. @throws {KernelError} */
export function getIpvsTimeouts(handle: IpvsHandle): IpvsTimeouts {
  let tcp = 0, tcpFin = 0, udp = 0;
  handle.socket.request("read ipvs timeouts", (w) => {
    beginIpvs(w, handle.familyId, IPVS_CMD_GET_CONFIG);
    w.end();
  }, (message) => {
    const a = message.attributes(GENL_HEADER);
    while (a.next()) {
      if (a.type === IPVS_CMD_ATTR_TIMEOUT_TCP) tcp = a.u32();
      else if (a.type === IPVS_CMD_ATTR_TIMEOUT_TCP_FIN) tcpFin = a.u32();
      else if (a.type === IPVS_CMD_ATTR_TIMEOUT_UDP) udp = a.u32();
    }
  });
  return { tcp, tcpFin, udp };
}
