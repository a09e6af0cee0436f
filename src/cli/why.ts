/** The command `why`: asks proxy and firewall of the running agent, and Linux for routes and counters, about one connection. */

import { networkInterfaces } from "node:os";
import { openRouteLookups, type RouteLookups } from "../kernel/dataplane/linux/route-lookup.ts";
import { canonicalIp } from "../kernel/ip.ts";
import type { Meaning, MeaningAnswer } from "../kernel/runtime/objects.ts";
import type { WhyAnswer as PolicyAnswer, WhyConnection } from "../plugins/firewall/answers.ts";
import type { ProxyWhyAnswer } from "../plugins/proxy/answers.ts";
import { VIP_LINK } from "../plugins/proxy/vip-link.ts";
import { agentFlags } from "./agent-flags.ts";
import { askPlugin } from "./ask-plugin.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { type Names, namesOf } from "./ipvs.ts";
import { listensOn } from "./listeners.ts";
import { type Counted, counters } from "./rule-counters.ts";
import { judgeTarget, type Source, type Target, type TargetAnswer } from "./why-judge.ts";
import { type WhyAnswer, whyText } from "./why-text.ts";

/** Exit code where the connection does not come to its destination. */
const DOES_NOT_REACH = 3;
/** Endpoints of one target that are asked about: of a thousand each says the same. */
const MOST_ENDPOINTS = 32;

/** Prints the answer; 1 where none came, 2 for words that are no question. */
export async function why(flags: Flags, io: Io, words: readonly string[]): Promise<number> {
  const [from, to, ...more] = words;
  if (from === undefined || to === undefined || more.length > 0) {
    io.stderr('routelet: Command "why" takes: SOURCE DESTINATION[:PORT[/PROTOCOL]]\n');
    return EXIT.usage;
  }
  let answer: WhyAnswer;
  try {
    answer = await ask(flags.runtimeDir, from, to);
  } catch (error) {
    io.stderr(`routelet: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.failed;
  }
  const counted = await counters();
  io.stdout(
    flags.output === "json"
      ? `${JSON.stringify(withPackets(answer, counted), null, 2)}\n`
      : whyText(answer, counted),
  );
  return answer.targets.every(({ result }) => result === "reaches") ? 0 : DOES_NOT_REACH;
}

/** A destination as it was typed. */
export interface TypedDestination {
  readonly name: string;
  /** Number or name of a port; absent: none was given. */
  readonly port?: string;
  readonly protocol?: "tcp" | "udp" | "sctp";
}

/** @throws {Error} where it is no destination */
export function parseDestination(text: string): TypedDestination {
  if (canonicalIp(text) !== undefined) return { name: text };
  const [, bracketed, plain, port, protocol] =
    /^(?:\[([^\]]+)\]|(.+?))(?::([^:/]+)(?:\/([^/]+))?)?$/.exec(text) ?? [];
  const name = bracketed ?? plain;
  if (name === undefined || (bracketed !== undefined && canonicalIp(bracketed) === undefined)) {
    throw new Error(
      `"${text}" is no destination; write NAME:PORT/PROTOCOL or [ADDRESS]:PORT/PROTOCOL`,
    );
  }
  const known = (["tcp", "udp", "sctp"] as const).find((each) => each === protocol?.toLowerCase());
  if (protocol !== undefined && known === undefined) {
    throw new Error(`"${protocol}" is no protocol that has ports here; choose tcp, udp or sctp`);
  }
  return {
    name,
    ...(port === undefined ? {} : { port }),
    ...(known === undefined ? {} : { protocol: known }),
  };
}

interface Asking {
  readonly runtimeDir: string;
  readonly lookups: RouteLookups;
  readonly node: string;
  readonly hosts: ReadonlySet<string>;
  readonly knowsPods: boolean;
  readonly egress: boolean;
}

/** @throws {Error} where an end is nothing, or the agent does not answer */
async function ask(runtimeDir: string, from: string, to: string): Promise<WhyAnswer> {
  const typed = parseDestination(to);
  const [destination, node] = await Promise.all([
    meaningOf(runtimeDir, typed.name, ["service", "pod", "node", "address"]),
    nodeOf(runtimeDir),
  ]);
  const isHost = ["host", "localhost", node].includes(from);
  const source = isHost ? undefined : await meaningOf(runtimeDir, from, ["pod", "node", "address"]);
  const lookups = await openRouteLookups();
  try {
    const asking: Asking = {
      runtimeDir,
      lookups,
      node,
      hosts: hostAddresses(),
      knowsPods: await watchesPods(runtimeDir),
      egress: await masqueradesEgress(runtimeDir),
    };
    const targets: (TargetAnswer & { readonly source: Source })[] = [];
    for (const target of targetsOf(destination, typed)) {
      const end = sourceFor(asking, source, target);
      if (end !== undefined) targets.push(await judge(asking, end, target));
    }
    if (targets.length === 0) {
      throw new Error(`"${from}" and "${to}" have no addresses of one family`);
    }
    const text = source?.name ?? node;
    return { node, source: { text, isHost }, destination: to, targets };
  } finally {
    lookups.close();
  }
}

async function meaningOf(
  runtimeDir: string,
  text: string,
  kinds: readonly Meaning["kind"][],
): Promise<Meaning> {
  const asked = await askPlugin("-", runtimeDir, "meaning", { text });
  if (typeof asked === "string") throw new Error(asked);
  const { meanings, unwatched } = asked.answer as MeaningAnswer;
  const found = meanings.find(({ kind }) => kinds.includes(kind));
  if (found !== undefined) {
    if (found.addresses.length > 0) return found;
    throw new Error(
      found.kind === "service"
        ? `Service "${found.name}" has no address of its own: name one of its pods`
        : `${found.kind === "pod" ? "Pod" : "Node"} "${found.name}" has no address now`,
    );
  }
  const words = kinds.filter((kind) => kind !== "address").join(", ");
  const besides = unwatched.length === 0
    ? ""
    : `; the agent has no list of ${unwatched.join(" and ")}, so name those by address`;
  throw new Error(`"${text}" is no address, and no ${words} is called so${besides}`);
}

/** @throws {Error} where no agent answers */
async function nodeOf(runtimeDir: string): Promise<string> {
  const asked = await askPlugin("-", runtimeDir, "node");
  if (typeof asked === "string") throw new Error(asked);
  return asked.answer as string;
}

async function watchesPods(runtimeDir: string): Promise<boolean> {
  const asked = await askPlugin("-", runtimeDir, "meaning", { text: "pod/-/-" });
  return typeof asked !== "string" && !(asked.answer as MeaningAnswer).unwatched.includes("pods");
}

async function masqueradesEgress(runtimeDir: string): Promise<boolean> {
  const router = await askPlugin("router", runtimeDir, "global");
  return typeof router !== "string" && (await agentFlags(runtimeDir))?.enablePodEgress === true;
}

/** This host's own addresses: not VIPs. */
function hostAddresses(): ReadonlySet<string> {
  return new Set(
    Object.entries(networkInterfaces()).flatMap(([link, addresses = []]) =>
      link === VIP_LINK ? [] : addresses.flatMap(({ address }) => canonicalIp(address) ?? [])
    ),
  );
}

/** Where nothing else says a port: that of the web. */
const USUAL_PORT = 80;

/** @throws {Error} where there is no such port */
export function targetsOf(meaning: Meaning, typed: TypedDestination): readonly Target[] {
  const number = Number(typed.port);
  const isNumber = typed.port !== undefined && /^\d+$/.test(typed.port);
  if (isNumber && (number < 1 || number > 65_535)) {
    throw new Error(`"${typed.port}" is no port; choose 1 to 65535`);
  }
  const own = meaning.ports.filter(({ name, port, protocol }) =>
    (typed.port === undefined || (isNumber ? port === number : name === typed.port)) &&
    (typed.protocol === undefined || protocol === typed.protocol)
  );
  if (own.length === 0 && typed.port !== undefined && !isNumber) {
    const names = meaning.ports.map(({ name }) => name).filter((name) => name !== "");
    throw new Error(
      `${meaning.name} has no port "${typed.port}"; its ports are ${
        names.join(", ") || "numbers alone"
      }`,
    );
  }
  const ports = own.length > 0
    ? own.map(({ port, protocol }) => ({ port, protocol: protocol as Target["protocol"] }))
    : [{ port: isNumber ? number : USUAL_PORT, protocol: typed.protocol ?? "tcp" as const }];
  // Of a port's number that two protocols have, that of TCP is meant unless another one was said.
  const meant = typed.protocol === undefined && ports.some(({ protocol }) => protocol === "tcp") &&
      typed.port !== undefined
    ? ports.filter(({ protocol }) => protocol === "tcp")
    : ports;
  return meaning.addresses.flatMap((address) =>
    meant.map(({ port, protocol }): Target => ({ address, port, protocol }))
  );
}

/** The source's address of the target's family; undefined where it has none. */
function sourceFor(
  { lookups, hosts, node }: Asking,
  source: Meaning | undefined,
  target: Target,
): Source | undefined {
  if (source === undefined || source.kind === "node" && source.name === node) {
    const route = lookups.route(target.address);
    const own = "error" in route ? undefined : route.source;
    const fallback = [...hosts].find((address) =>
      address.includes(":") === target.address.includes(":") && !address.startsWith("127.") &&
      address !== "::1" && !address.startsWith("fe80:")
    );
    const address = own ?? (hosts.has(target.address) ? target.address : fallback);
    return address === undefined ? undefined : { address, isHost: true };
  }
  const address = source.addresses.find((each) =>
    each.includes(":") === target.address.includes(":")
  );
  if (address === undefined) return undefined;
  return {
    address,
    isHost: hosts.has(address),
    ...(source.kind === "pod"
      ? {
        named: {
          kind: "pod",
          name: source.name,
          ...(source.node === undefined ? {} : { node: source.node }),
        },
      }
      : {}),
  };
}

async function judge(
  asking: Asking,
  source: Source,
  target: Target,
): Promise<TargetAnswer & { readonly source: Source }> {
  const { runtimeDir, lookups, hosts, node, knowsPods, egress } = asking;
  const asked = await askPlugin("proxy", runtimeDir, "why", {
    address: target.address,
    port: String(target.port),
    protocol: target.protocol,
  });
  const all = typeof asked === "string" ? undefined : asked.answer as ProxyWhyAnswer;
  const [proxy, left] = cut(all);
  const ends = proxy?.frontends[0]?.endpoints ?? [];
  const destinations = ends.length > 0 ? ends : [target];
  const names: Names = await namesOf(runtimeDir, [
    source.address,
    target.address,
    ...destinations.map(({ address }) => address),
  ]);
  const policies = new Map<string, WhyConnection | undefined>();
  for (const { address, port } of destinations) {
    const connection = await policyOf(runtimeDir, source.address, address, port, target.protocol);
    policies.set(`${address} ${port}`, connection);
  }
  const known = names[source.address];
  const whole: Source = source.named === undefined && known !== undefined
    ? { ...source, named: known }
    : source;
  const named = names[target.address];
  const answer = judgeTarget({
    node,
    source: whole,
    target: { ...target, ...(named === undefined ? {} : { named }) },
    ...(proxy === undefined ? {} : { proxy }),
    policyOf: (address, port) => policies.get(`${address} ${port}`),
    routeTo: lookups.route,
    nameOf: (address) => names[address],
    isHosts: (address) => hosts.has(address),
    listens: listensOn,
    knowsPods,
    egress,
  });
  const notes = left === 0 ? answer.notes : [
    ...answer.notes,
    `${left} more endpoints were not asked about`,
  ];
  return { ...answer, notes, source: whole };
}

function cut(answer: ProxyWhyAnswer | undefined): readonly [ProxyWhyAnswer | undefined, number] {
  const [first, ...others] = answer?.frontends ?? [];
  if (answer === undefined || first === undefined) return [answer, 0];
  const endpoints = first.endpoints.slice(0, MOST_ENDPOINTS);
  return [
    { ...answer, frontends: [{ ...first, endpoints }, ...others] },
    first.endpoints.length - endpoints.length,
  ];
}

async function policyOf(
  runtimeDir: string,
  source: string,
  destination: string,
  port: number,
  protocol: string,
): Promise<WhyConnection | undefined> {
  const query = { source, destination, port: `${protocol}/${port}` };
  const asked = await askPlugin("firewall", runtimeDir, "why", query);
  return typeof asked === "string" ? undefined : (asked.answer as PolicyAnswer).connections[0];
}

/** Every rule that is named, with the packets that it has met. */
function withPackets(answer: WhyAnswer, counted: Counted): unknown {
  return {
    ...answer,
    targets: answer.targets.map((target) => ({
      ...target,
      ...(target.stop?.rule === undefined ? {} : {
        stop: { ...target.stop, packets: counted(target.stop.rule) },
      }),
      paths: target.paths.map((path) => ({
        ...path,
        ...(path.policy === undefined ? {} : {
          policy: {
            ...path.policy,
            judgements: path.policy.judgements.map((judgement) => ({
              ...judgement,
              packets: counted(judgement.object),
            })),
          },
        }),
      })),
    })),
  };
}
