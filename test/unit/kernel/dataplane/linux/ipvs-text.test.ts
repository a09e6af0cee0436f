import { expect, test } from "bun:test";
import { ipvsTableText } from "../../../../../src/kernel/dataplane/linux/ipvs-text.ts";
import {
  type IpvsDestination,
  ipvsFwmarkId,
  type IpvsService,
  type IpvsServiceId,
  ipvsServiceId,
} from "../../../../../src/kernel/dataplane/resources/ipvs.ts";

function service(id: IpvsServiceId, scheduler: string, more: Partial<IpvsService> = {}) {
  return { id, scheduler, schedulerFlags: 0, persistence: 0, ...more };
}

function to(
  service: IpvsServiceId,
  address: string,
  port: number,
  method: IpvsDestination["method"],
  weight: number,
) {
  return { item: { service, address, port, method, weight }, active: 0, inactive: 0 };
}

// The output of ipvsadm 1.31 for this table, with its trailing spaces.
const EXPECTED = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 rr
  -> 9.1.0.2:80                   Route   1000000 0          0         
  -> 10.1.0.1:8080                Masq    1      0          0         
  -> 10.1.0.2:80                  Tunnel  65535  0          0         
UDP  9.0.0.2:53 rr
UDP  10.0.0.2:53 wrr persistent 300
SCTP 10.0.0.3:9 lc (flag-1,flag-3)
TCP  [fd00::1]:443 sh (sh-port) persistent 77
  -> [fd00::a]:8443               Masq    7      0          0         
  -> [fd00::aa]:8443              Masq    7      0          0         
TCP  [fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535 mh (mh-fallback,mh-port)
  -> [fd00:1234:5678:9abc:def0:1234:5678:9abc]:8443 Masq    7      0          0         
FWM  18 wlc persistent 3
FWM  18 IPv6 wlc persistent 3
FWM  170000 rr
  -> 10.1.0.4:0                   Masq    1      0          0         
`;

test("a table looks as ipvsadm prints it, whatever its order", () => {
  const web = ipvsServiceId(4, "tcp", "10.0.0.1", 80);
  const web6 = ipvsServiceId(6, "tcp", "fd00::1", 443);
  const long = ipvsServiceId(6, "tcp", "fd00:1234:5678:9abc:def0:1234:5678:9abc", 65535);
  const entries = [
    {
      item: service(ipvsFwmarkId(4, 170000), "rr"),
      destinations: [to(web, "10.1.0.4", 0, "masq", 1)],
    },
    { item: service(ipvsFwmarkId(6, 18), "wlc", { persistence: 3 }), destinations: [] },
    { item: service(ipvsFwmarkId(4, 18), "wlc", { persistence: 3 }), destinations: [] },
    {
      item: service(long, "mh", { schedulerFlags: 0x18 }),
      destinations: [to(long, long.address, 8443, "masq", 7)],
    },
    {
      item: service(web6, "sh", { schedulerFlags: 0x10, persistence: 77 }),
      destinations: [to(web6, "fd00::aa", 8443, "masq", 7), to(web6, "fd00::a", 8443, "masq", 7)],
    },
    {
      item: service(ipvsServiceId(4, "sctp", "10.0.0.3", 9), "lc", { schedulerFlags: 0x28 }),
      destinations: [],
    },
    {
      item: service(ipvsServiceId(4, "udp", "10.0.0.2", 53), "wrr", { persistence: 300 }),
      destinations: [],
    },
    { item: service(ipvsServiceId(4, "udp", "9.0.0.2", 53), "rr"), destinations: [] },
    {
      item: service(web, "rr"),
      destinations: [
        to(web, "10.1.0.2", 80, "tunnel", 65535),
        to(web, "10.1.0.1", 8080, "masq", 1),
        to(web, "9.1.0.2", 80, "route", 1000000),
      ],
    },
  ];
  const info = { version: "1.2.1", size: 4096 };
  expect(ipvsTableText(info, entries)).toBe(EXPECTED);
  expect(ipvsTableText(info, entries.toReversed())).toBe(EXPECTED);
});
