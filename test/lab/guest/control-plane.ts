/** A node that Service `default/kubernetes` names as its endpoint serves the API there, as a control-plane node does. */

import type { KubeObject, LabApi } from "../api/types.ts";
import { addressOf } from "../topology/cidr.ts";
import type { Topology } from "../topology/topology.ts";
import type { Hands } from "./hands.ts";

type Fields = Readonly<Record<string, unknown>>;

interface Place {
  readonly address: string;
  readonly port: number;
}

/** Keeps a relay to the API's own port on every such address; a port that a pod has is left to it. */
export function serveApiOnNodes(
  api: LabApi,
  topology: Topology,
  hands: Hands,
  apiPort: number,
  warn: (text: string) => void,
): void {
  const nodes = new Map(
    topology.nodes.flatMap((node) =>
      node.addresses.map((cidr) => [addressOf(cidr), `node-${node.name}`] as const)
    ),
  );
  const { apiServer } = topology;
  const fixed = topology.nodes.filter(({ name }) => name === apiServer?.node).flatMap((node) =>
    node.addresses.map((cidr) => ({ address: addressOf(cidr), port: apiServer?.port ?? apiPort }))
  );
  const open = new Set<string>();
  let turn = Promise.resolve();

  function update(): void {
    const wanted = [...api.list("EndpointSlice", "default"), ...api.list("Endpoints", "default")]
      .flatMap(placesOf).filter(({ address }) => nodes.has(address));
    const keys = new Set([...fixed, ...wanted].map(({ address, port }) => `${port} ${address}`));
    for (const key of open) if (!keys.has(key)) change(key, "unrelay");
    for (const key of keys) if (!open.has(key)) change(key, "relay");
  }

  function change(key: string, action: "relay" | "unrelay"): void {
    const [port = "", address = ""] = key.split(" ");
    const namespace = nodes.get(address) ?? "";
    if (action === "relay") open.add(key);
    else open.delete(key);
    turn = turn.then(() =>
      action === "relay"
        ? hands.relay(namespace, address, Number(port), apiPort)
        : hands.unrelay(namespace, address, Number(port))
    ).catch((error: Error) => warn(`API server on ${address}: ${error.message}`));
  }

  update();
  api.on(({ kind, object }) => {
    if (kind.kind === "EndpointSlice" || kind.kind === "Endpoints") {
      if (isKubernetes(object)) update();
    }
  });
}

function isKubernetes(object: KubeObject): boolean {
  const { name, namespace, labels } = object.metadata ?? {};
  return namespace === "default" &&
    (name === "kubernetes" || labels?.["kubernetes.io/service-name"] === "kubernetes");
}

/** Of an EndpointSlice or an Endpoints object. */
export function placesOf(object: KubeObject): readonly Place[] {
  if (!isKubernetes(object)) return [];
  const groups: readonly Fields[] = object.kind === "Endpoints" ? items(object.subsets) : [object];
  return groups.flatMap((group) => {
    const addresses = [
      ...items(group.endpoints).flatMap(({ addresses }) =>
        Array.isArray(addresses) ? addresses : []
      ),
      ...items(group.addresses).map(({ ip }) => ip),
    ];
    return items(group.ports).flatMap(({ port }) =>
      addresses.flatMap((address) =>
        typeof address === "string" && typeof port === "number" ? [{ address, port }] : []
      )
    );
  });
}

function items(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value : [];
}
