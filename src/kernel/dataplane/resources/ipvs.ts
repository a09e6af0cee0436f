import type { Family, Resource } from "../resource.ts";

export type IpvsProtocol = "tcp" | "udp" | "sctp";

/**
 * Identity of an IPVS virtual service, made by {@linkcode ipvsServiceId}. One object is shared by the service
 * and all its destinations: at 50,000 destinations the copies would cost more than the rest.
 */
export interface IpvsServiceId {
  /** "tcp 10.0.0.1:80", "udp [fd00::1]:53", "fwmark 17 ipv4". */
  readonly key: string;
  readonly family: Family;
  /** Not used with a firewall mark. */
  readonly protocol: IpvsProtocol;
  /** Canonical text; empty with a firewall mark. */
  readonly address: string;
  /** 0 with a firewall mark. */
  readonly port: number;
  /** 0: none. */
  readonly fwmark: number;
}

/** Identity of a service by address. `address` is canonical text. */
export function ipvsServiceId(
  family: Family,
  protocol: IpvsProtocol,
  address: string,
  port: number,
): IpvsServiceId {
  const key = `${protocol} ${hostPort(family, address, port)}`;
  return { key, family, protocol, address, port, fwmark: 0 };
}

/** Identity of a service by firewall mark (1 to 2^32 - 1). */
export function ipvsFwmarkId(family: Family, fwmark: number): IpvsServiceId {
  return {
    key: `fwmark ${fwmark} ipv${family}`,
    family,
    protocol: "tcp",
    address: "",
    port: 0,
    fwmark,
  };
}

function hostPort(family: Family, address: string, port: number): string {
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

/** An IPVS virtual service. Mark: its key is in the owner's ledger, since IPVS has no field for one. */
export interface IpvsService {
  readonly id: IpvsServiceId;
  /** Name as Linux knows it: "rr", "lc", "sh", "mh" … at most 15 characters. */
  readonly scheduler: string;
  /** Scheduler flag bits IP_VS_SVC_F_SCHED1 to SCHED3: 0x08, 0x10, 0x20 (linux/ip_vs.h). */
  readonly schedulerFlags: number;
  /**
   * Seconds that a client stays with its destination; 0: not persistent. The netmask is always the whole
   * address (255.255.255.255 in network byte order for IPv4, 128 for IPv6): Linux reads the IPv4 field as raw bytes.
   */
  readonly persistence: number;
}

/** A destination of a virtual service. Mark: its service is ours. */
export interface IpvsDestination {
  readonly service: IpvsServiceId;
  readonly address: string;
  readonly port: number;
  /** 0 drains: no new connections. */
  readonly weight: number;
  readonly method: "masq" | "tunnel" | "route";
}

function serviceOptions(s: IpvsService): string {
  const flags = s.schedulerFlags === 0 ? "" : ` flags 0x${s.schedulerFlags.toString(16)}`;
  return `${s.scheduler}${flags}${s.persistence === 0 ? "" : ` persistent ${s.persistence}`}`;
}

function idOption({ family, protocol, address, port, fwmark }: IpvsServiceId): string {
  if (fwmark !== 0) return `-f ${fwmark}${family === 6 ? " -6" : ""}`;
  const option = { tcp: "-t", udp: "-u", sctp: "--sctp-service" }[protocol];
  return `${option} ${hostPort(family, address, port)}`;
}

export const ipvsService: Resource<IpvsService> = {
  kind: "ipvs.service",
  key: (s) => s.id.key,
  equal: (want, have) =>
    want.scheduler === have.scheduler && want.schedulerFlags === have.schedulerFlags &&
    want.persistence === have.persistence,
  describe: (s) => `ipvs service ${s.id.key} ${serviceOptions(s)}`,
  remedy: ({ id }) => `remove it with "ipvsadm -D ${idOption(id)}" when no other proxy needs it`,
  exclusive: true,
};

export const ipvsDestination: Resource<IpvsDestination> = {
  kind: "ipvs.destination",
  key: (d) => `${d.service.key} -> ${hostPort(d.service.family, d.address, d.port)}`,
  equal: (want, have) => want.weight === have.weight && want.method === have.method,
  retire: (have) => have.weight === 0 ? have : { ...have, weight: 0 },
  describe: (d) =>
    `ipvs destination ${d.service.key} -> ${
      hostPort(d.service.family, d.address, d.port)
    } ${d.method} weight ${d.weight}${d.weight === 0 ? " (draining)" : ""}`,
  exclusive: true,
  parentKind: "ipvs.service",
  parent: (d) => d.service.key,
};
