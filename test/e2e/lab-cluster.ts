/** A small cluster for the lab's own tests, by its parts. */

import { join } from "node:path";

export const FAKE_AGENT = join(import.meta.dir, "../lab/fixtures/fake-agent");

export interface PodOptions {
  readonly namespace?: string;
  readonly ports?: readonly object[];
  readonly status?: object;
  readonly spec?: object;
}

export function pod(
  name: string,
  nodeName: string,
  addresses: readonly string[],
  options: PodOptions = {},
): object {
  const { namespace = "default", ports = [{ containerPort: 80 }], status, spec } = options;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: "web" } },
    spec: { nodeName, containers: [{ name: "main", ports }], ...spec },
    status: {
      phase: "Running",
      podIP: addresses[0],
      podIPs: addresses.map((ip) => ({ ip })),
      ...status,
    },
  };
}

/** Two nodes on one subnet and one on another, both families, a client; no agents. */
export const TOPOLOGY = {
  nodes: [
    {
      name: "n1",
      addresses: ["192.168.50.11/24", "fd00:50::11/64"],
      podCIDRs: ["10.244.1.0/24", "fd00:244:1::/64"],
      agent: false,
    },
    {
      name: "n2",
      addresses: ["192.168.50.12/24", "fd00:50::12/64"],
      podCIDRs: ["10.244.2.0/24", "fd00:244:2::/64"],
      agent: false,
    },
    {
      name: "n3",
      addresses: ["192.168.60.13/24", "fd00:60::13/64"],
      podCIDRs: ["10.244.3.0/24", "fd00:244:3::/64"],
      agent: false,
    },
  ],
  clients: [{
    name: "outside",
    addresses: ["192.168.50.99/24", "fd00:50::99/64"],
    gateway: ["192.168.50.11", "fd00:50::11"],
  }],
  manifests: ["pods.yaml"],
} as const;

export const ALL_PORTS = [
  { containerPort: 80 },
  { containerPort: 53, protocol: "UDP" },
  { containerPort: 99, protocol: "SCTP" },
];

export const PODS: readonly object[] = [
  pod("a", "n1", ["10.244.1.10", "fd00:244:1::10"], { ports: ALL_PORTS }),
  pod("b", "n1", ["10.244.1.11", "fd00:244:1::11"], { ports: ALL_PORTS }),
  pod("c", "n2", ["10.244.2.10", "fd00:244:2::10"], { ports: ALL_PORTS }),
  pod("d", "n3", ["10.244.3.10", "fd00:244:3::10"], { ports: ALL_PORTS }),
];

/** Shell functions for scripts: `ask FROM TO PORT [PROTOCOL [MS]]` prints the answer or the result. */
export const ASK = `
ask() {
  printf '{"from":"%s","to":"%s","port":%s,"protocol":"%s","timeoutMs":%s}' "$1" "$2" "$3" "\${4:-TCP}" "\${5:-3000}" |
    $LAB probe | jq -r '.answer // .result'
}
`;
