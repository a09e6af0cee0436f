/**
 * What this node's rules say of a connection, by the same models that the rules are made of: for connections that are there
 * already, and for people who ask why. It judges pods of this node only; the other end's node judges its own.
 */

import { contains } from "../../kernel/ip.ts";
import { ISOLATION } from "./isolation.ts";
import { addressesOf, type PodFacts } from "./pods.ts";
import {
  type Direction,
  type PeerModel,
  type PolicyModel,
  type PortModel,
  type Protocol,
  type RuleModel,
} from "./policy.ts";
import type { PolicyIndex } from "./policy-index.ts";

/** A connection as it is between pods: after the translation of Services. */
export interface Connection {
  readonly source: string;
  readonly destination: string;
  readonly protocol: Protocol;
  /** Of the destination. */
  readonly port: number;
}

export type Cause =
  /** These policies under audit would deny it. */
  | { readonly kind: "not isolated"; readonly audited: readonly string[] }
  | { readonly kind: "self" }
  /** From the node that the pod runs on. */
  | { readonly kind: "node" }
  /** Allowed by a rule of a policy, counted from 0. */
  | { readonly kind: "rule"; readonly policy: string; readonly rule: number }
  /** None of these policies allows it; the namespace's annotation is named by its key. */
  | { readonly kind: "isolated"; readonly by: readonly string[] };

/** What one pod's rules for one direction say. */
export interface PodVerdict {
  readonly pod: PodFacts;
  readonly direction: Direction;
  readonly allowed: boolean;
  readonly cause: Cause;
}

/** The verdicts of this node's pods at both ends; none where neither is one. */
export function judge(
  index: PolicyIndex,
  connection: Connection,
  isNode: (address: string) => boolean,
): readonly PodVerdict[] {
  const { source, destination } = connection;
  const local = (address: string) =>
    index.podsAt(address).filter(({ key }) => index.localPod(key) !== undefined);
  const of = (pod: PodFacts, direction: Direction): PodVerdict => {
    const cause = causeOf(index, connection, pod, direction, isNode);
    return { pod, direction, allowed: cause.kind !== "isolated", cause };
  };
  return [
    ...local(source).map((pod) => of(pod, "egress")),
    ...local(destination).map((pod) => of(pod, "ingress")),
  ];
}

function causeOf(
  index: PolicyIndex,
  connection: Connection,
  pod: PodFacts,
  direction: Direction,
  isNode: (address: string) => boolean,
): Cause {
  const { source, destination } = connection;
  const own = addressesOf(pod, source.includes(":") ? 6 : 4);
  if (own.includes(source) && own.includes(destination)) return { kind: "self" };
  if (direction === "ingress" && isNode(source)) return { kind: "node" };
  const namespace = index.namespace(pod.namespace);
  const covering = (namespace?.policies ?? []).filter((policy) =>
    policy[direction] !== undefined && policy.target.matches(pod.labels)
  );
  for (const policy of covering) {
    const rule = policy[direction]?.find((each) => allows(index, each, connection, direction));
    if (rule !== undefined) return { kind: "rule", policy: policy.key, rule: rule.index };
  }
  const by = covering.filter(({ audit }: PolicyModel) => !audit).map(({ key }) => key);
  if (direction === "ingress" && namespace?.closed === true) by.push(ISOLATION);
  return by.length === 0
    ? { kind: "not isolated", audited: covering.map(({ key }) => key) }
    : { kind: "isolated", by };
}

function allows(
  index: PolicyIndex,
  { peers, ports }: RuleModel,
  connection: Connection,
  direction: Direction,
): boolean {
  const address = direction === "ingress" ? connection.source : connection.destination;
  return (peers === "everyone" || peers.some((peer) => isPeer(index, peer, address))) &&
    (ports === "all" || ports.some((port) => isPort(index, port, connection)));
}

function isPeer(index: PolicyIndex, peer: PeerModel, address: string): boolean {
  if (peer.kind === "block") {
    return contains(peer.cidr, address) && !peer.except.some((part) => contains(part, address));
  }
  const { namespaces, pods } = peer;
  return index.podsAt(address).some((pod) => {
    if (!pods.matches(pod.labels)) return false;
    if (typeof namespaces === "string") return pod.namespace === namespaces;
    const labels = index.namespaceLabels(pod.namespace);
    return labels !== undefined && namespaces.matches(labels);
  });
}

function isPort(
  index: PolicyIndex,
  port: PortModel,
  { protocol, port: number, destination }: Connection,
): boolean {
  if (port.protocol !== protocol) return false;
  switch (port.kind) {
    case "all":
      return true;
    case "range":
      return port.from <= number && number <= port.to;
    case "named":
      return index.podsAt(destination).some((pod) =>
        pod.ports.some((own) =>
          own.name === port.name && own.containerPort === number &&
          own.protocol.toLowerCase() === protocol
        )
      );
  }
}
