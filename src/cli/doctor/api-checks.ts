/** Checks of the way to the API server, of what it lets us do, and of this host's Node. */

import type { ApiWrite } from "../../kernel/cluster/cluster-api.ts";
import { type KindName, KINDS } from "../../kernel/cluster/kinds.ts";
import { canonicalIp } from "../../kernel/ip.ts";
import { accessFinding, writeFindings } from "./access-checks.ts";
import type { DoctorApi } from "./api.ts";
import { fail, type Finding, ok, warn } from "./findings.ts";
import type { DoctorHost } from "./host.ts";

export interface ApiQuestion {
  readonly api: DoctorApi;
  /** The kinds that the plugins watch. */
  readonly kinds: readonly KindName[];
  /** What the plugins write. */
  readonly writes: readonly ApiWrite[];
  /** Where their leases are. */
  readonly leaseNamespace: string;
  readonly node: string;
  readonly host: Pick<DoctorHost, "addresses">;
  /** Whether a plugin needs the Node's pod CIDRs. */
  readonly needsPodCIDRs: boolean;
  /** Unix ms. */
  now(): number;
}

export async function apiFindings(question: ApiQuestion): Promise<readonly Finding[]> {
  const { api, kinds, writes, leaseNamespace } = question;
  let reach: Finding[];
  try {
    reach = reachFindings(await api.ask("/version"), question);
  } catch (error) {
    return [
      fail(
        "api/reach",
        textOf(error),
        "see to it that this host reaches the API server, or correct --kubeconfig or --master",
      ),
    ];
  }
  if (reach.some(({ id, grade }) => id === "api/reach" && grade === "fail")) return reach;
  const access: Finding[] = [];
  for (const kind of kinds) access.push(await accessFinding(api, KINDS[kind]));
  access.push(...await writeFindings(api, writes, leaseNamespace));
  return [...reach, ...access, ...await nodeFindings(question)];
}

/** Seconds that the clocks may differ: certificates and leases are that coarse. */
const CLOCK_WARN = 5;
const CLOCK_FAIL = 60;

function reachFindings(
  { status, body, date, ms }: Awaited<ReturnType<DoctorApi["ask"]>>,
  { api, now }: ApiQuestion,
): Finding[] {
  const version = (body as { gitVersion?: unknown } | undefined)?.gitVersion;
  const findings = [
    status === 401
      ? fail(
        "api/reach",
        `${api.server} refuses the credentials (401)`,
        "renew the token or the client certificate",
      )
      : status >= 500
      ? fail(
        "api/reach",
        `${api.server} answers HTTP ${status}`,
        "look at the API server's own log",
      )
      : ok(
        "api/reach",
        `${api.server} answers in ${ms.toFixed(0)} ms${
          version === undefined ? "" : `, ${String(version)}`
        }`,
      ),
  ];
  if (date === undefined) return findings;
  // The header counts whole seconds.
  const off = Math.max(0, Math.abs(now() - date) / 1000 - 1);
  const text = `this host's clock is ${off.toFixed(0)} s ${
    now() > date ? "ahead of" : "behind"
  } the API server's`;
  const fix = "let chrony or systemd-timesyncd keep the clock of both";
  findings.push(
    off >= CLOCK_FAIL
      ? fail("clock/api", text, fix)
      : off >= CLOCK_WARN
      ? warn("clock/api", text, fix)
      : ok("clock/api", "this host's clock is that of the API server"),
  );
  return findings;
}

interface RawNode {
  readonly spec?: { readonly podCIDR?: unknown; readonly podCIDRs?: readonly unknown[] };
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
  readonly status?: {
    readonly addresses?: readonly { readonly type?: unknown; readonly address?: unknown }[];
  };
}

async function nodeFindings(
  { api, node, host, needsPodCIDRs }: ApiQuestion,
): Promise<readonly Finding[]> {
  let answer: Awaited<ReturnType<DoctorApi["ask"]>>;
  try {
    answer = await api.ask(`/api/v1/nodes/${encodeURIComponent(node)}`);
  } catch (error) {
    return [fail("node/object", textOf(error), "ask again when the API server answers")];
  }
  if (answer.status === 403) {
    return [
      warn(
        "node/object",
        `may not get Node "${node}" by its name`,
        "give the ClusterRole the verb get on nodes, for this check alone",
      ),
    ];
  }
  if (answer.status !== 200) {
    return [fail(
      "node/object",
      `there is no Node "${node}" (HTTP ${answer.status})`,
      "correct --hostname-override, or NODE_NAME, or the host's name",
    )];
  }
  const raw = answer.body as RawNode;
  const addresses = (raw.status?.addresses ?? [])
    .filter(({ type }) => type === "InternalIP" || type === "ExternalIP")
    .flatMap(({ address }) => canonicalIp(String(address)) ?? []);
  const own = new Set(host.addresses.flatMap(({ address }) => canonicalIp(address) ?? []));
  const found = addresses.find((address) => own.has(address));
  const findings = [
    addresses.length === 0
      ? fail(
        "node/object",
        `Node "${node}" has no address in status.addresses`,
        "its kubelet or cloud controller has to set one",
      )
      : found === undefined
      ? warn(
        "node/object",
        `no link of this host has an address of Node "${node}" (${addresses.join(", ")})`,
        "correct --hostname-override where that is another host's Node, or run in the host's network",
      )
      : ok("node/object", `Node "${node}" has the address ${found} of this host`),
  ];
  const annotations = raw.metadata?.annotations ?? {};
  const cidrs = [
    ...(raw.spec?.podCIDRs ?? []),
    ...(raw.spec?.podCIDR === undefined ? [] : [raw.spec.podCIDR]),
    annotations["kube-router.io/pod-cidrs"],
    annotations["kube-router.io/pod-cidr"],
  ].filter((text) => typeof text === "string" && text !== "");
  if (cidrs.length > 0) {
    findings.push(ok("node/podCIDRs", `its pods are in ${[...new Set(cidrs)].join(", ")}`));
  } else {
    const fix =
      "run the controller manager with --allocate-node-cidrs, or set the annotation kube-router.io/pod-cidrs";
    const text = `Node "${node}" has no pod CIDR`;
    findings.push(
      needsPodCIDRs ? fail("node/podCIDRs", `${text}: the router has nothing to route`, fix) : warn(
        "node/podCIDRs",
        `${text}: pods of Services see the node's address instead of their client's`,
        fix,
      ),
    );
  }
  return findings;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
