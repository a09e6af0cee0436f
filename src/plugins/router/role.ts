/** What a node's own annotations say of its part in BGP: AS number, reflection, attributes, what it refuses. */

import { canonicalIp, ipFamily, ipv4Text, parseCidr } from "../../kernel/ip.ts";
import type { Node } from "../../kernel/plugin.ts";
import { parseCommunity } from "./communities.ts";
import { MAX_UINT32, parseUint } from "./numbers.ts";

const ASN = "kube-router.io/node.asn";
const SERVER = "kube-router.io/rr.server";
const CLIENT = "kube-router.io/rr.client";
const PREPEND_AS = "kube-router.io/path-prepend.as";
const PREPEND_TIMES = "kube-router.io/path-prepend.repeat-n";
const COMMUNITIES = "kube-router.io/node.bgp.communities";
const REJECT = "kube-router.io/node.bgp.customimportreject";
const LOCAL_ADDRESSES = "kube-router.io/bgp-local-addresses";

/** The default AS number, of those for private use (RFC 6996). */
export const DEFAULT_ASN = 64512;

export interface Prepend {
  readonly asn: number;
  /** 1 to 255. */
  readonly times: number;
}

export interface NodeRole {
  /** Absent: BGP cannot start, and a problem says why. */
  readonly asn?: number;
  readonly reflection: "none" | "server" | "client";
  /** Of a reflection server or client that names one: a dotted quad. Absent: the router id. */
  readonly clusterId?: string;
  readonly prepend?: Prepend;
  readonly communities: readonly number[];
  /** Canonical CIDRs: routes to them and to anything within are refused. */
  readonly importReject: readonly string[];
  /** Canonical addresses to listen on; absent: the node's own. */
  readonly listen?: readonly string[];
  readonly problems: readonly string[];
}

/** Reads a node's own annotations. What is wrong is reported and costs only itself. */
export function nodeRole(
  node: Node,
  options: { readonly nodesFullMesh: boolean; readonly clusterAsn: number },
): NodeRole {
  const { annotations } = node.metadata;
  const problems: string[] = [];
  const asn = ownAsn(annotations, options, problems);
  const reflection = SERVER in annotations ? "server" : CLIENT in annotations ? "client" : "none";
  const clusterId = reflection === "none"
    ? undefined
    : parseClusterId(reflection === "server" ? SERVER : CLIENT, annotations, problems);
  const prepend = parsePrepend(annotations, problems);
  const listen = parseListen(annotations[LOCAL_ADDRESSES], problems);
  return {
    ...(asn === undefined ? {} : { asn }),
    reflection,
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(prepend === undefined ? {} : { prepend }),
    communities: parseCommunities(annotations[COMMUNITIES], problems),
    importReject: parseReject(annotations[REJECT], problems),
    ...(listen === undefined ? {} : { listen }),
    problems,
  };
}

type Annotations = Readonly<Record<string, string>>;

function ownAsn(
  annotations: Annotations,
  { nodesFullMesh, clusterAsn }: { readonly nodesFullMesh: boolean; readonly clusterAsn: number },
  problems: string[],
): number | undefined {
  if (nodesFullMesh) return clusterAsn === 0 ? DEFAULT_ASN : clusterAsn;
  const text = annotations[ASN];
  const asn = nodeAsn(annotations);
  if (asn === undefined) {
    problems.push(
      text === undefined
        ? `Annotation ${ASN} is missing, which each node needs with --nodes-full-mesh=false; BGP is off here`
        : `Annotation ${ASN} is "${text}", which is no AS number (1 to 4294967295); BGP is off here`,
    );
  }
  return asn;
}

/** The AS number that a node's annotation gives it, or undefined where it has none that is one. */
export function nodeAsn(annotations: Annotations): number | undefined {
  const asn = parseUint(annotations[ASN] ?? "", MAX_UINT32);
  return asn === 0 ? undefined : asn;
}

export function isReflectionServer({ metadata }: Node): boolean {
  return SERVER in metadata.annotations;
}

/** A node that is both is a server. */
export function isReflectionClient({ metadata }: Node): boolean {
  return CLIENT in metadata.annotations && !(SERVER in metadata.annotations);
}

/** A cluster id is four octets (RFC 4456): a number stands for them, most significant first. */
function parseClusterId(
  name: string,
  annotations: Annotations,
  problems: string[],
): string | undefined {
  const text = annotations[name] ?? "";
  const number = parseUint(text, MAX_UINT32);
  if (number !== undefined) return ipv4Text(number);
  const address = canonicalIp(text);
  if (address !== undefined && ipFamily(address) === 4) return address;
  problems.push(
    `Annotation ${name} is "${text}"; a cluster id is a number of 32 bits or an IPv4 address; ` +
      "the router id stands in",
  );
  return undefined;
}

function parsePrepend(annotations: Annotations, problems: string[]): Prepend | undefined {
  const text = annotations[PREPEND_AS];
  // The count alone is nothing, as in kube-router.
  if (text === undefined) return undefined;
  const count = annotations[PREPEND_TIMES];
  const asn = parseUint(text, MAX_UINT32);
  const times = parseUint(count ?? "", 255);
  if (count === undefined) {
    problems.push(
      `Annotation ${PREPEND_AS} needs ${PREPEND_TIMES} beside it; nothing is prepended`,
    );
  } else if (asn === undefined || asn === 0) {
    problems.push(`Annotation ${PREPEND_AS} is "${text}", no AS number; nothing is prepended`);
  } else if (times === undefined) {
    problems.push(
      `Annotation ${PREPEND_TIMES} is "${count}"; allowed is 0 to 255; nothing is prepended`,
    );
  } else if (times > 0) return { asn, times };
  return undefined;
}

function parseCommunities(text: string | undefined, problems: string[]): readonly number[] {
  const found: number[] = [];
  for (const item of itemsOf(text)) {
    const community = parseCommunity(item);
    if (community !== undefined) found.push(community);
    else {
      problems.push(
        `Annotation ${COMMUNITIES} has "${item}"; a community is "65000:1", a number of 32 bits or a ` +
          "well-known name; it is left out",
      );
    }
  }
  return [...new Set(found)];
}

function parseReject(text: string | undefined, problems: string[]): readonly string[] {
  const found: string[] = [];
  for (const item of itemsOf(text)) {
    const cidr = parseCidr(item);
    if (cidr !== undefined) found.push(cidr.text);
    else problems.push(`Annotation ${REJECT} has "${item}", which is no CIDR; it is left out`);
  }
  return [...new Set(found)];
}

function parseListen(text: string | undefined, problems: string[]): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const found: string[] = [];
  for (const item of itemsOf(text)) {
    const address = canonicalIp(item);
    if (address !== undefined) found.push(address);
    else {
      problems.push(
        `Annotation ${LOCAL_ADDRESSES} has "${item}", which is no IP address; it is left out`,
      );
    }
  }
  return found.length === 0 ? undefined : [...new Set(found)];
}

function itemsOf(text: string | undefined): readonly string[] {
  return (text ?? "").split(",").map((item) => item.trim()).filter((item) => item !== "");
}
