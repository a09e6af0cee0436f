/**
 * Rules in the words of `iptables-restore`. Every rule carries a comment that ends with our mark,
 * `routelet:<owner>:<hash>`; the hash stands for the whole rule, since iptables-save prints it in other words.
 */

import type { Owner } from "../dataplane.ts";
import { notOwnChain } from "./iptables-names.ts";
import {
  type Chain,
  type FilterRule,
  type Jump,
  type Match,
  ruleHash,
  type Target,
} from "../resources/filter.ts";

/** What the host's iptables can do. */
export interface Features {
  /** `--random-fully` of SNAT and MASQUERADE (iptables 1.6.2). */
  readonly randomFully: boolean;
}

/** XT_MAX_COMMENT_LEN is 256 with the NUL; the mark takes at most 60 of it. */
const COMMENT_BYTES = 190;

/** struct xt_nflog_info: 64 with the NUL. */
export const PREFIX_BYTES = 63;

const encoder = new TextEncoder();
/** One byte a character, and no blank at its ends. */
const PLAIN = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;

/** The comment with the mark, quoted for iptables-restore. */
function comment(owner: Owner, words: string | undefined, mark: string): string {
  const text = clamp(words ?? "", COMMENT_BYTES);
  return `-m comment --comment ${
    quoted(`${text === "" ? "" : `${text} `}routelet:${owner.name}:${mark}`)
  }`;
}

/** One line of at most so many bytes. */
export function clamp(words: string, bytes: number): string {
  // As nearly all are: 10,000 rules have one each.
  if (words.length <= bytes && PLAIN.test(words)) return words;
  let text = words.replaceAll(/[\u0000-\u001f\u007f]/g, " ").trim();
  while (encoder.encode(text).length > bytes) text = text.slice(0, -1);
  return text;
}

function quoted(text: string): string {
  return /["\\]/.test(text) ? `"${text.replaceAll(/["\\]/g, "\\$&")}"` : `"${text}"`;
}

/** The line that declares a chain, which also empties it. */
export function renderDeclaration(name: string): string {
  return `:${name} - [0:0]`;
}

/** The lines that append a chain's rules. */
export function renderRules(
  { name, rules }: Chain,
  owner: Owner,
  features: Features,
): readonly string[] {
  return rules.map((rule) =>
    `-A ${name} ${words(owner, rule, ruleHash(rule))} ${targetWords(rule.target, features)}`
  );
}

/**
 * The line that puts a jump in its place.
 *
 * @param place where one that must come first goes, from 1
 */
export function renderJump(jump: Jump, owner: Owner, place = 1): string {
  const mark = `${jump.first === true ? "first:" : ""}${ruleHash(jump)}`;
  const where = jump.first === true
    ? `-I ${jump.from}${place > 1 ? ` ${place}` : ""}`
    : `-A ${jump.from}`;
  return `${where} ${words(owner, jump, mark)} -j ${jump.to}`;
}

function words(
  owner: Owner,
  { matches, comment: text }: Pick<FilterRule, "matches" | "comment">,
  mark: string,
): string {
  // Ports are options of a protocol, which must come first.
  const first = matches.findIndex((match) => match.kind === "protocol");
  const protocolMatch = matches[first];
  const protocol = protocolMatch?.kind === "protocol" ? protocolMatch.protocol : undefined;
  let line = protocolMatch === undefined ? "" : `${matchWords(protocolMatch, protocol)} `;
  for (let i = 0; i < matches.length; i++) {
    const match = matches[i];
    if (match !== undefined && i !== first) line += `${matchWords(match, protocol)} `;
  }
  return line + comment(owner, text, mark);
}

function matchWords(match: Match, protocol: string | undefined): string {
  const not = "negate" in match && match.negate === true ? "! " : "";
  switch (match.kind) {
    case "source":
      return `${not}-s ${match.prefix}`;
    case "destination":
      return `${not}-d ${match.prefix}`;
    case "input":
      return `${not}-i ${match.link}`;
    case "output":
      return `${not}-o ${match.link}`;
    case "protocol":
      return `-p ${match.protocol === "icmpv6" ? "ipv6-icmp" : match.protocol}`;
    case "ports":
      return portWords(match.side, match.ports.replaceAll("-", ":"), protocol);
    case "icmp":
      return protocol === "icmpv6"
        ? `-m icmp6 --icmpv6-type ${match.type}`
        : `-m icmp --icmp-type ${match.type}`;
    case "state":
      return `-m conntrack --ctstate ${match.states.join(",").toUpperCase()}`;
    case "originalDestination":
      return `-m conntrack --ctorigdst ${match.prefix}`;
    case "tcpFlags":
      return `-m tcp --tcp-flags ${match.mask} ${match.set}`;
    case "set":
      return `-m set ${not}--match-set ${match.set} ${match.directions.join(",")}`;
    case "mark":
      return `-m mark --mark ${hex(match.mark)}${
        match.mask === undefined ? "" : `/${hex(match.mask)}`
      }`;
    case "connectionMark":
      return `-m connmark --mark ${hex(match.mark)}/${hex(match.mask)}`;
    case "local":
      return `-m addrtype ${not}--${match.side === "source" ? "src" : "dst"}-type LOCAL`;
    case "limit":
      return `-m limit --limit ${match.perMinute}/minute --limit-burst ${match.burst}`;
    case "ipvs":
      return ipvsWords(match);
  }
}

function portWords(side: "source" | "destination", ports: string, protocol = "tcp"): string {
  const letter = side === "source" ? "s" : "d";
  return ports.includes(",")
    ? `-m multiport --${letter}ports ${ports}`
    : `-m ${protocol} --${letter}port ${ports}`;
}

function ipvsWords(match: Extract<Match, { kind: "ipvs" }>): string {
  const method = { masq: "MASQ", tunnel: "IPIP", route: "GATE" } as const;
  return [
    "-m ipvs --ipvs",
    ...(match.direction === undefined ? [] : [`--vdir ${match.direction.toUpperCase()}`]),
    ...(match.method === undefined ? [] : [`--vmethod ${method[match.method]}`]),
    ...(match.vaddr === undefined ? [] : [`--vaddr ${match.vaddr}`]),
    ...(match.vport === undefined ? [] : [`--vport ${match.vport}`]),
  ].join(" ");
}

function targetWords(target: Target, features: Features): string {
  const random = "fullyRandom" in target && target.fullyRandom === true && features.randomFully
    ? " --random-fully"
    : "";
  switch (target.kind) {
    case "accept":
    case "drop":
    case "return":
      return `-j ${target.kind.toUpperCase()}`;
    case "reject":
      return `-j REJECT${target.with === undefined ? "" : ` --reject-with ${target.with}`}`;
    case "jump":
      return `-j ${target.chain}`;
    case "snat":
      return `-j SNAT --to-source ${target.to}${random}`;
    case "masquerade":
      return `-j MASQUERADE${random}`;
    case "redirect":
      return `-j REDIRECT --to-ports ${target.port}`;
    case "log": {
      const prefix = clamp(target.prefix ?? "", PREFIX_BYTES);
      return `-j NFLOG --nflog-group ${target.group}${
        prefix === "" ? "" : ` --nflog-prefix ${quoted(prefix)}`
      }`;
    }
    case "tcpmss":
      return `-j TCPMSS --set-mss ${target.mss}`;
    case "mark":
      return `-j MARK --set-xmark ${hex(target.set)}/${hex(target.mask ?? 0xffffffff)}`;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** One word or several that could end the line or the rule early, if a plugin passed on what a user wrote. */
const UNSAFE = /[\s"'\\#*:]/;

/** Why a rule cannot be rendered: a name or value with characters that iptables-restore would read otherwise. */
export function unsafe(
  { matches, target }: Pick<FilterRule, "matches"> & { target?: Target },
): string | undefined {
  let bad: string | undefined;
  for (const match of matches) bad ??= unsafeMatch(match);
  if (target?.kind === "jump") bad ??= isUnsafe(target.chain);
  if (target?.kind === "snat") bad ??= isUnsafe(target.to.replaceAll(/[:[\]]/g, ""));
  if (target?.kind === "reject") bad ??= isUnsafe(target.with ?? "");
  return bad === undefined ? undefined : `"${bad}" has characters that a rule cannot carry`;
}

function isUnsafe(value: string): string | undefined {
  return value.startsWith("-") || UNSAFE.test(value) ? value : undefined;
}

function unsafeMatch(match: Match): string | undefined {
  switch (match.kind) {
    case "source":
    case "destination":
    case "originalDestination":
      return isUnsafe(match.prefix.replaceAll(":", ""));
    case "input":
    case "output":
      return isUnsafe(match.link);
    case "ports":
      return isUnsafe(match.ports.replaceAll(":", ""));
    case "tcpFlags":
      return isUnsafe(match.mask) ?? isUnsafe(match.set);
    case "set":
      return isUnsafe(match.set.startsWith("inet6:") ? match.set.slice(6) : match.set);
    case "ipvs":
      return isUnsafe((match.vaddr ?? "").replaceAll(":", ""));
    default:
      return undefined;
  }
}

/** Why a chain cannot be, whichever backend makes it; undefined where it can. */
export function refuseChain(owner: Owner, { name, rules }: Chain): string | undefined {
  return notOwnChain(owner, name) ??
    (name.length > 28
      ? "the name of a chain has at most 28 characters"
      : rules.map(unsafe).find((reason) => reason !== undefined));
}

/** Why a jump cannot be, whichever backend makes it; undefined where it can. */
export function refuseJump(owner: Owner, jump: Jump): string | undefined {
  return notOwnChain(owner, jump.to) ?? unsafe(jump);
}
