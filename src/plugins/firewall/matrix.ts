/** Who may reach the pods of this node, namespace by namespace: a table for people. */

import type { Family } from "../../kernel/ip.ts";
import { judge } from "./judge.ts";
import { addressesOf, type PodFacts } from "./pods.ts";
import type { Protocol } from "./policy.ts";
import type { PolicyIndex } from "./policy-index.ts";

/** "all": every pod of that namespace that was tried; "some", "none" of them. */
export type Cell = "all" | "some" | "none";

export interface MatrixAnswer {
  /** Namespaces that have pods. */
  readonly sources: readonly string[];
  readonly pods: readonly {
    readonly name: string;
    /** "80/tcp": its first port, or that where it names none. */
    readonly port: string;
    /** In the order of `sources`. */
    readonly cells: readonly Cell[];
  }[];
  /** Pods of this node. */
  readonly total: number;
  readonly limit: number;
}

/** Pods that one answer judges, and pods of a namespace that are tried: the work is their product. */
const MOST_PODS = 25;
const MOST_TRIED = 20;
const MOST_NAMESPACES = 30;

export function matrixAnswer(
  index: PolicyIndex,
  families: readonly Family[],
  offset: number,
  isNode: (address: string) => boolean,
): MatrixAnswer {
  const local = index.localPods().toSorted((a, b) => a.key < b.key ? -1 : 1);
  const byNamespace = new Map<string, PodFacts[]>();
  for (const key of index.podKeys()) {
    const pod = index.pod(key);
    if (pod === undefined) continue;
    const pods = byNamespace.get(pod.namespace);
    if (pods === undefined) byNamespace.set(pod.namespace, [pod]);
    else if (pods.length < MOST_TRIED) pods.push(pod);
  }
  const sources = [...byNamespace.keys()].toSorted().slice(0, MOST_NAMESPACES);
  return {
    sources,
    total: local.length,
    limit: MOST_PODS,
    pods: local.slice(offset, offset + MOST_PODS).map((pod) => {
      const { protocol, port } = portOf(pod);
      return {
        name: pod.key,
        port: `${port}/${protocol}`,
        cells: sources.map((name) =>
          cellOf(
            (byNamespace.get(name) ?? []).flatMap((source) =>
              allowed(index, families, source, pod, { protocol, port }, isNode)
            ),
          )
        ),
      };
    }),
  };
}

function portOf({ ports }: PodFacts): { readonly protocol: Protocol; readonly port: number } {
  const [first] = ports;
  return first === undefined
    ? { protocol: "tcp", port: 80 }
    : { protocol: first.protocol.toLowerCase() as Protocol, port: first.containerPort };
}

/** Ingress alone: what the other end's node says of egress is not known here. Nothing where they share no family. */
function allowed(
  index: PolicyIndex,
  families: readonly Family[],
  source: PodFacts,
  pod: PodFacts,
  port: { readonly protocol: Protocol; readonly port: number },
  isNode: (address: string) => boolean,
): readonly boolean[] {
  for (const family of families) {
    const [from] = addressesOf(source, family);
    const [to] = addressesOf(pod, family);
    if (from === undefined || to === undefined) continue;
    const verdicts = judge(index, { source: from, destination: to, ...port }, isNode);
    return [verdicts.every((verdict) => verdict.allowed)];
  }
  return [];
}

function cellOf(verdicts: readonly boolean[]): Cell {
  if (verdicts.every((verdict) => verdict)) return "all";
  return verdicts.some((verdict) => verdict) ? "some" : "none";
}
