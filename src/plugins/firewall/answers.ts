/** What `routelet policy` asks the running agent. */

import { canonicalIp, type Family } from "../../kernel/ip.ts";
import { ISOLATION } from "./isolation.ts";
import { type Cause, type Connection, judge, type PodVerdict } from "./judge.ts";
import { namespaceChainName, podChainName, policyChainName } from "./names.ts";
import { addressesOf, type PodFacts } from "./pods.ts";
import { type Direction, DIRECTIONS, type Protocol } from "./policy.ts";
import type { PolicyIndex } from "./policy-index.ts";

/** A policy of a namespace that has pods on this node. */
export interface ListedPolicy {
  readonly policy: string;
  readonly directions: readonly Direction[];
  readonly audit: boolean;
  /** Pods of this node that it selects. */
  readonly pods: readonly string[];
  /** Its chains, in the order of `directions`. */
  readonly chains: readonly string[];
  readonly problems: readonly string[];
}

export interface ListAnswer {
  readonly node: string;
  readonly policies: readonly ListedPolicy[];
  /** Namespaces that the annotation of 2017 closes for ingress. */
  readonly closed: readonly string[];
}

export function listAnswer(index: PolicyIndex, node: string): ListAnswer {
  const policies: ListedPolicy[] = [];
  const closed: string[] = [];
  for (const name of [...index.activeNamespaces()].toSorted()) {
    const namespace = index.namespace(name);
    if (namespace?.closed === true) closed.push(name);
    const local = index.localPods().filter((pod) => pod.namespace === name);
    for (const policy of namespace?.policies ?? []) {
      const directions = DIRECTIONS.filter((direction) => policy[direction] !== undefined);
      policies.push({
        policy: policy.key,
        directions,
        audit: policy.audit,
        pods: local.filter(({ labels }) => policy.target.matches(labels)).map(({ key }) => key),
        chains: directions.map((direction) => policyChainName(policy.key, direction)),
        problems: policy.problems,
      });
    }
  }
  policies.sort((a, b) => a.policy < b.policy ? -1 : 1);
  return { node, policies, closed };
}

/** Rules of one chain of table filter whose comment begins so: what decides in Linux. */
export interface LinuxObject {
  readonly family: Family;
  readonly chain: string;
  readonly comment: string;
}

export interface WhyJudgement {
  readonly pod: string;
  readonly direction: Direction;
  readonly allowed: boolean;
  readonly cause: Cause;
  readonly object: LinuxObject;
}

/** One connection; between pods of both families there are two. */
export interface WhyConnection extends Connection {
  readonly allowed: boolean;
  readonly judgements: readonly WhyJudgement[];
  /** Pods at its ends that other nodes judge: "namespace/name on node". */
  readonly elsewhere: readonly string[];
}

export interface WhyAnswer {
  readonly node: string;
  readonly connections: readonly WhyConnection[];
}

/**
 * Whether a connection may pass, by this node's rules. Ends are pods, "namespace/name", or addresses; `port` is "TCP/80", and
 * where it is absent the first port of the pod at the destination.
 *
 * @throws {RangeError} where an end or the port is none
 */
export function whyAnswer(
  index: PolicyIndex,
  node: string,
  families: readonly Family[],
  query: URLSearchParams,
  isNode: (address: string) => boolean,
): WhyAnswer {
  const source = endOf(index, query.get("source") ?? "");
  const destination = endOf(index, query.get("destination") ?? "");
  const port = portOf(query.get("port") ?? "", destination);
  const connections = families.flatMap((family): readonly WhyConnection[] => {
    const from = ofFamily(source, family);
    const to = ofFamily(destination, family);
    if (from === undefined || to === undefined) return [];
    const connection = { source: from, destination: to, ...port };
    const verdicts = judge(index, connection, isNode);
    return [{
      ...connection,
      allowed: verdicts.every(({ allowed }) => allowed),
      judgements: verdicts.map((verdict) => judgementOf(verdict, family)),
      elsewhere: [from, to].flatMap((address) =>
        index.podsAt(address).filter(({ key }) => index.localPod(key) === undefined)
          .map((pod) => `${pod.key} on ${pod.node ?? "no node"}`)
      ),
    }];
  });
  if (connections.length === 0) {
    throw new RangeError("The two ends have no addresses of one family that the agent serves");
  }
  return { node, connections };
}

type End = string | PodFacts;

function endOf(index: PolicyIndex, text: string): End {
  if (text.includes("/")) {
    const pod = index.pod(text);
    if (pod !== undefined) return pod;
    throw new RangeError(
      `No pod "${text}" has an address of its own: it does not exist, has ended, or is on the host's network`,
    );
  }
  const address = canonicalIp(text);
  if (address !== undefined) return address;
  throw new RangeError(`"${text}" is neither a pod ("namespace/name") nor an address`);
}

function ofFamily(end: End, family: Family): string | undefined {
  if (typeof end !== "string") return addressesOf(end, family)[0];
  return end.includes(":") === (family === 6) ? end : undefined;
}

function portOf(text: string, destination: End): { protocol: Protocol; port: number } {
  if (text === "") {
    const first = typeof destination === "string" ? undefined : destination.ports[0];
    return first === undefined
      ? { protocol: "tcp", port: 80 }
      : { protocol: first.protocol.toLowerCase() as Protocol, port: first.containerPort };
  }
  const found = /^(tcp|udp|sctp)\/(\d{1,5})$/i.exec(text);
  const port = Number(found?.[2]);
  if (found === null || port < 1 || port > 65_535) {
    throw new RangeError(`"${text}" is no protocol and port; write "TCP/80", "UDP/53", "SCTP/9"`);
  }
  return { protocol: found[1]?.toLowerCase() as Protocol, port };
}

function judgementOf({ pod, direction, allowed, cause }: PodVerdict, family: Family): WhyJudgement {
  const [chain, comment] = placeOf(pod, direction, cause);
  return { pod: pod.key, direction, allowed, cause, object: { family, chain, comment } };
}

function placeOf(
  pod: PodFacts,
  direction: Direction,
  cause: Cause,
): readonly [chain: string, comment: string] {
  switch (cause.kind) {
    case "rule":
      return [policyChainName(cause.policy, direction), `${cause.policy} ${direction} `];
    case "isolated":
      return [podChainName(pod.key), `${pod.key} reject`];
    case "not isolated": {
      const [audited] = cause.audited;
      const comment = audited === undefined ? `default ${direction}` : `${audited} audit`;
      return [namespaceChainName(pod.namespace, direction), comment];
    }
    case "self":
      return [podChainName(pod.key), "pod to itself"];
    case "node":
      return [podChainName(pod.key), "from local node"];
  }
}

/** One line for people. */
export function causeText(cause: Cause): string {
  switch (cause.kind) {
    case "rule":
      return `rule ${cause.rule} of policy ${cause.policy}`;
    case "isolated":
      return `no rule of ${
        cause.by.map((by) => by === ISOLATION ? `annotation ${by}` : `policy ${by}`).join(", ")
      }`;
    case "not isolated":
      return `no policy isolates the pod in this direction${
        cause.audited.length === 0
          ? ""
          : `; ${cause.audited.map((by) => `policy ${by}`).join(", ")} under audit would deny it`
      }`;
    case "self":
      return "a pod always reaches itself";
    case "node":
      return "a node always reaches its pods";
  }
}
