/**
 * Pods' hostPorts, without the CNI's portmap: each is an IPVS service on the addresses of the host, with the pod behind it. The
 * pod sees the client's own address. Of two pods that want one port the older has it, and the status says so of the other.
 *
 * Not served: 127.0.0.1 and ::1, which IPVS cannot take out of the host.
 */

import type {
  ContainerPort,
  HostAddress,
  IpvsProtocol,
  Plugin,
  Pod,
} from "../src/kernel/third-party.ts";

interface Options {
  readonly from: number;
  readonly to: number;
}

const PROTOCOLS: Readonly<Record<string, IpvsProtocol>> = { TCP: "tcp", UDP: "udp", SCTP: "sctp" };
const ANY = ["", "0.0.0.0", "::"];

const plugin: Plugin<Options> = {
  name: "hostport",
  api: 1,
  summary: "Pods' hostPorts by IPVS",
  options: { range: { default: "1-65535", help: "Host ports that pods may have, as FROM-TO" } },
  watches: [{ kind: "pods" }],
  tables: ["ipvsServices", "ipvsDestinations"],
  parse({ range }) {
    const [, from, to] = /^(\d+)-(\d+)$/.exec(String(range)) ?? [];
    const options = { from: Number(from), to: Number(to) };
    if (!(options.from >= 1 && options.from <= options.to && options.to <= 65535)) {
      throw new Error(`Option "range" cannot be "${range}": allowed is FROM-TO within 1-65535`);
    }
    return options;
  },
  setup({ stores, tables, host, node, options, input, reconcile }) {
    const { pods } = stores;
    const concerns = (pod: Pod): boolean =>
      pod.spec.nodeName === node && !pod.spec.hostNetwork && portsOf(pod).length > 0 &&
      pod.status.phase !== "Succeeded" && pod.status.phase !== "Failed";
    reconcile({
      name: "pod",
      // Pods of other nodes wake nothing.
      inputs: [input(pods, (pod) => concerns(pod) ? [nameOf(pod)] : []), host],
      units: () => [...pods.values()].filter(concerns).map(nameOf),
      // The older pod has the port, even if a name comes first by its letters.
      rank: (unit) => `${pods.get(unit)?.metadata.creationTimestamp ?? "9"} ${unit}`,
      desired(unit, desired) {
        const pod = pods.get(unit);
        if (pod === undefined || !concerns(pod)) return;
        for (const port of portsOf(pod)) {
          const { hostPort = 0, hostIP = "", containerPort } = port;
          const protocol = PROTOCOLS[port.protocol];
          if (protocol === undefined || hostPort < options.from || hostPort > options.to) {
            desired.report(
              `Its hostPort ${hostPort}/${port.protocol} is not served: allowed are ` +
                `${options.from}-${options.to} of TCP, UDP and SCTP (option "range")`,
            );
            continue;
          }
          const addresses = host.values().filter((each) => isServed(each, hostIP));
          if (addresses.length === 0) {
            desired.report(`Its hostIP "${hostIP}" is no address of this host; correct it`);
          }
          for (const { family, address } of addresses) {
            const podIP = pod.status.podIPs.find((ip) => ip.includes(":") === (family === 6));
            if (podIP === undefined) continue;
            const at = family === 6 ? `[${address}]:${hostPort}` : `${address}:${hostPort}`;
            const id = {
              key: `${protocol} ${at}`,
              family,
              protocol,
              address,
              port: hostPort,
              fwmark: 0,
            };
            desired.want(tables.ipvsServices, {
              id,
              scheduler: "rr",
              schedulerFlags: 0,
              persistence: 0,
            });
            desired.want(tables.ipvsDestinations, {
              service: id,
              address: podIP,
              port: containerPort,
              weight: 1,
              method: "masq",
            });
          }
        }
      },
    });
  },
};

function nameOf({ metadata }: Pod): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function portsOf({ spec }: Pod): readonly ContainerPort[] {
  return spec.ports.filter(({ hostPort }) => hostPort !== undefined);
}

function isServed({ address, link }: HostAddress, hostIP: string): boolean {
  if (link === "lo" || address.startsWith("fe80:")) return false;
  return ANY.includes(hostIP) || hostIP === address;
}

export default plugin;
