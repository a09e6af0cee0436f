/**
 * Names of chains and sets: kube-router's prefixes and the length of its hashes. What is hashed is our own. kube-router
 * hashes a timestamp along, so that nobody can rely on a name, and joins namespace and name without a separator, so that
 * two policies may share one.
 */

import type { Family } from "../../kernel/ip.ts";
import type { Direction } from "./policy.ts";

export const TOP_CHAINS = {
  INPUT: "KUBE-ROUTER-INPUT",
  FORWARD: "KUBE-ROUTER-FORWARD",
  OUTPUT: "KUBE-ROUTER-OUTPUT",
} as const;
/** Marks what no policy restricts. */
export const DEFAULT_CHAIN = "KUBE-NWPLCY-DEFAULT";
/** What every pod's traffic meets first. */
export const COMMON_CHAIN = "KUBE-NWPLCY-COMMON";
/** Where traffic that has passed is accepted. */
export const TAIL_CHAIN = "KUBE-NWPLCY-TAIL";

/** A policy, or the annotation, allows it: within one pod's chain. */
export const ALLOWED = 0x10000;
/** The chain of a pod has let it pass. */
export const PASSED = 0x20000;
/** The chain of the pod at its source, at its destination has let it pass; used with `--netpol-default-deny` alone. */
export const PASSED_SOURCE = 0x40000;
export const PASSED_DESTINATION = 0x80000;

/** Of conntrack's mark: a connection that policies deny by now. */
export const CUT = 0x100000;

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Of the text that is hashed now. */
const digest = new Uint8Array(32);

/** The last results: most names are asked for by both families, one right after the other. */
const recent = new Map<string, string>();
const MOST_RECENT = 256;

/** The first 16 characters of the base32 (RFC 4648) of the SHA-256 of a text: 80 bits. */
export function hash16(text: string): string {
  const known = recent.get(text);
  if (known !== undefined) return known;
  if (recent.size >= MOST_RECENT) recent.clear();
  const result = hashed(text);
  recent.set(text, result);
  return result;
}

function hashed(text: string): string {
  Bun.SHA256.hash(text, digest);
  let result = "";
  for (let i = 0; i < 16; i++) {
    // Character i holds bits 5i to 5i+4.
    const at = i * 5;
    const pair = ((digest[at >> 3] ?? 0) << 8) | (digest[(at >> 3) + 1] ?? 0);
    result += BASE32[(pair >> (11 - (at & 7))) & 31];
  }
  return result;
}

/** One chain for both families. */
export function podChainName(pod: string): string {
  return `KUBE-POD-FW-${hash16(`pod ${pod}`)}`;
}

/** One for each direction: with one chain for both, a rule of one direction would allow the other. */
export function policyChainName(policy: string, direction: Direction): string {
  return `KUBE-NWPLCY-${hash16(`policy ${policy} ${direction}`)}`;
}

/** The chain that knows which policies of the namespace select a pod. */
export function namespaceChainName(namespace: string, direction: Direction): string {
  return `KUBE-NWPLCY-${hash16(`namespace ${namespace} ${direction}`)}`;
}

/** At most 31 characters, "inet6:" included. */
export function setName(use: "SRC" | "DST", family: Family, text: string): string {
  return `${family === 6 ? "inet6:" : ""}KUBE-${use}-${hash16(`${use} IPv${family} ${text}`)}`;
}

export function localPodsSet(family: Family): string {
  return `${family === 6 ? "inet6:" : ""}kube-router-local-pods`;
}

const COMMENT_BYTES = 120;
const encoder = new TextEncoder();

/** The text of a comment: identity first, so that a long name costs only the words behind it. nft allows 128 bytes. */
export function comment(text: string): string {
  if (text.length <= COMMENT_BYTES && /^[ -~]*$/.test(text)) return text;
  let clean = text.replaceAll(/[\u0000-\u001f\u007f]/g, "");
  while (encoder.encode(clean).length > COMMENT_BYTES) clean = clean.slice(0, -1);
  return clean;
}
