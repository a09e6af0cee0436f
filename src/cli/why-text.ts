/** The answer of `routelet why` for people. */

import type { FoundHop, FoundRoute, NoRoute } from "../kernel/dataplane/linux/route-lookup.ts";
import type { Named } from "../kernel/runtime/objects.ts";
import { causeText, type LinuxObject } from "../plugins/firewall/answers.ts";
import { hostPort } from "./ipvs.ts";
import type { Counted } from "./rule-counters.ts";
import type { Path, Result, Source, TargetAnswer } from "./why-judge.ts";

export interface WhyAnswer {
  readonly node: string;
  readonly source: Pick<Source, "isHost"> & { readonly text: string };
  readonly destination: string;
  readonly targets: readonly (TargetAnswer & { readonly source: Source })[];
}

const VERDICTS: Readonly<Record<Result, string>> = {
  reaches: "reaches it",
  refused: "is refused",
  dropped: "is dropped without a word",
  unreachable: "cannot be sent there",
  depends: "depends on the endpoint",
};

export function whyText({ node, targets }: WhyAnswer, counted: Counted): string {
  return `${targets.map((target) => targetText(node, target, counted)).join("\n")}`;
}

function targetText(
  node: string,
  { source, target, result, service, stop, paths, notes }: WhyAnswer["targets"][number],
  counted: Counted,
): string {
  const lines = [
    `${endText(source.address, source.named, source.isHost)} -> ${target.protocol} ${
      hostPort(target.address, target.port)
    }${suffix(target.named)}: ${VERDICTS[result]}, as far as ${node} decides`,
  ];
  if (service !== undefined) {
    const { live } = service;
    const how = [
      service.scheduler,
      service.persistence === 0 ? "no affinity" : `affinity for ${service.persistence} s`,
      service.scope === "local" ? "endpoints of this node only" : "endpoints of the cluster",
      ...(service.mark === undefined ? [] : [`direct server return, mark ${service.mark}`]),
    ].join(", ");
    const port = service.portName === "" ? "" : `, port "${service.portName}"`;
    lines.push(`  service  ${service.service}, ${KINDS[service.kind]}${port}: ${how}`);
    lines.push(
      live === undefined
        ? `           IPVS: nothing at "${service.key}"`
        : `           IPVS ${service.key}: ${live.counters.connections} connections, ${live.counters.connectionRate}/s, ` +
          `${live.counters.inPackets} packets in, ${live.counters.outPackets} out`,
    );
    if (service.sources !== undefined) {
      lines.push(`           for clients of ${service.sources.join(", ")} only`);
    }
    for (const problem of service.problems) lines.push(`           problem: ${problem}`);
  }
  if (stop !== undefined) {
    lines.push(`  stopped  ${stop.because}`);
    if (stop.rule !== undefined) lines.push(`           ${ruleText(stop.rule, counted)}`);
  }
  for (const path of paths) lines.push(...pathText(path, service !== undefined, counted));
  for (const note of notes) lines.push(`  note     ${note}`);
  return `${lines.join("\n")}\n`;
}

const KINDS = {
  clusterIP: "cluster IP",
  nodePort: "node port",
  externalIP: "external IP",
  loadBalancer: "load balancer IP",
} as const;

function pathText(path: Path, chosen: boolean, counted: Counted): readonly string[] {
  const { address, port, named, live, nat, policy, route, result, because, elsewhere } = path;
  const lines: string[] = [];
  if (chosen) {
    const counts = live === undefined
      ? "not in IPVS"
      : `${live.method}, weight ${live.weight}, ${live.active} active, ${live.inactive} inactive, ` +
        `${live.counters.connections} connections`;
    lines.push(`  -> ${hostPort(address, port)}${suffix(named)}: ${VERDICTS[result]}; ${counts}`);
  }
  const add = (topic: string, text: string): void => {
    lines.push(`  ${chosen ? "   " : ""}${topic.padEnd(9)}${text}`);
  };
  if (because !== undefined) add("reason", because);
  if (policy === undefined) add("policy", "no firewall runs here");
  else if (policy.judgements.length === 0) add("policy", "neither end is a pod of this node");
  for (const { pod, direction, allowed, cause, object } of policy?.judgements ?? []) {
    add("policy", `${direction} of ${pod}: ${allowed ? "allowed" : "denied"}, ${causeText(cause)}`);
    add("", ruleText(object, counted));
  }
  for (const text of elsewhere) add("policy", `${text}: that node judges it, ask there too`);
  if (nat !== undefined) {
    switch (nat.kind) {
      case "kept":
        add("nat", `source kept: ${nat.because}`);
        break;
      case "masqueraded":
        add("nat", `source becomes ${nat.to}, so that the answer comes back here`);
        add("", ruleText(chosen ? masqueradeRule(address) : egressRule(address), counted));
        break;
      case "hairpin":
        add("nat", `hairpin: source becomes ${nat.to}, so that the pod answers itself`);
        break;
      case "lost":
        break;
    }
  }
  add("route", routeText(route));
  return lines;
}

function masqueradeRule(address: string): LinuxObject {
  return {
    family: address.includes(":") ? 6 : 4,
    chain: "KUBE-ROUTER-MASQUERADE",
    comment: "answers must come back here",
  };
}

function egressRule(address: string): LinuxObject {
  return {
    family: address.includes(":") ? 6 : 4,
    chain: "KUBE-ROUTER-RT-EGRESS",
    comment: "pods leave the cluster with the node's address",
  };
}

function ruleText(object: LinuxObject, counted: Counted): string {
  const packets = counted(object);
  const count = packets === undefined ? "" : `, ${packets} packets`;
  return `chain ${object.chain}, "${object.comment.trim()}"${count}`;
}

/** Route protocols that have a name: Linux's own, and ours. */
const MAKERS: Readonly<Record<number, string>> = {
  2: "Linux's own",
  3: "set at boot",
  4: "set by hand",
  17: "routelet's router, before it took it over",
  201: "the service proxy's",
  202: "the router's",
};

export function routeText(route: FoundRoute | NoRoute): string {
  if ("error" in route) return `none (${route.error})`;
  const { type, destination, hops, source, table, protocol } = route;
  const maker = MAKERS[protocol];
  return [
    `${type === "unicast" ? "" : `${type} `}${destination}`,
    hops.map(hopText).join(" or "),
    source === undefined ? "" : `src ${source}`,
    table === 254 || table === 255 ? "" : `table ${table}`,
    maker === undefined ? `proto ${protocol}` : `(${maker})`,
  ].filter((text) => text !== "").join(" ");
}

function hopText({ gateway, link, tunnel }: FoundHop): string {
  return [
    gateway === undefined ? "" : `via ${gateway}`,
    link === undefined ? "" : `dev ${link}`,
    tunnel === undefined
      ? ""
      : `(${tunnel.type} tunnel${tunnel.remote === undefined ? "" : ` to ${tunnel.remote}`})`,
  ].filter((text) => text !== "").join(" ");
}

function endText(address: string, named: Named | undefined, isHost: boolean): string {
  return `${address}${isHost && named === undefined ? " (this host)" : suffix(named)}`;
}

function suffix(named: Named | undefined): string {
  if (named === undefined) return "";
  if (named.kind === "node") return ` (node ${named.name})`;
  return ` (pod ${named.name}${named.node === undefined ? "" : ` on ${named.node}`})`;
}
