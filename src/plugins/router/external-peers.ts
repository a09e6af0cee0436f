/** Routers outside of the cluster that a node peers with: from flags, or from the node's annotations. */

import { canonicalIp } from "../../kernel/ip.ts";
import { decodePassword, isPeerAsn, MAX_UINT32, parseUint } from "./numbers.ts";
import type { RouterOptions } from "./options.ts";

/** BFD (RFC 5880) of one session. Intervals in ms. */
export interface BfdSettings {
  /** UDP port of the peer. */
  readonly port: number;
  readonly detectionMultiplier: number;
  readonly desiredMinTx: number;
  readonly requiredMinRx: number;
}

export interface ExternalPeer {
  /** Canonical. */
  readonly address: string;
  readonly asn: number;
  readonly port: number;
  /** Own end of the session, canonical; absent: the node's address of that family. */
  readonly local?: string;
  /** TCP MD5 key (RFC 2385). */
  readonly key?: Uint8Array;
  readonly bfd?: BfdSettings;
}

export interface ExternalPeers {
  readonly peers: readonly ExternalPeer[];
  readonly problems: readonly string[];
  /** Set where what was given cannot be read at all: better to go on with what was given before. */
  readonly unreadable?: true;
}

const NONE: ExternalPeers = { peers: [], problems: [] };

export const BGP_PORT = 179;
const PEERS = "kube-router.io/peers";
const IPS = "kube-router.io/peer.ips";
const ASNS = "kube-router.io/peer.asns";
const PORTS = "kube-router.io/peer.ports";
const PASSWORDS = "kube-router.io/peer.passwords";
const LOCALS = "kube-router.io/peer.localips";

export type GlobalPeerFlags = Pick<
  RouterOptions,
  | "peerRouterIps"
  | "peerRouterAsns"
  | "peerRouterPorts"
  | "peerRouterPasswords"
  | "enableBfd"
  | "bfdPort"
  | "bfdDetectionMultiplier"
  | "bfdDesiredMinTxInterval"
  | "bfdRequiredMinRxInterval"
>;

/**
 * The peers of flags. Their counts and values were checked when they were read.
 *
 * @param file text of `--peer-router-passwords-file`; used where `--peer-router-passwords` is empty
 */
export function globalPeers(flags: GlobalPeerFlags, file?: string): ExternalPeers {
  const problems: string[] = [];
  let passwords = flags.peerRouterPasswords;
  if (passwords.length === 0 && file !== undefined && file.trim() !== "") {
    passwords = file.trim().split(",").map((text) => text.trim());
    if (passwords.length !== flags.peerRouterIps.length) {
      return {
        peers: [],
        unreadable: true,
        problems: [
          `The file of --peer-router-passwords-file has ${passwords.length} passwords for ` +
          `${flags.peerRouterIps.length} in --peer-router-ips; allowed is one each, as one comma list`,
        ],
      };
    }
  }
  const bfd: BfdSettings | undefined = flags.enableBfd
    ? {
      port: flags.bfdPort,
      detectionMultiplier: flags.bfdDetectionMultiplier,
      desiredMinTx: flags.bfdDesiredMinTxInterval,
      requiredMinRx: flags.bfdRequiredMinRxInterval,
    }
    : undefined;
  const peers = flags.peerRouterIps.flatMap((address, i): readonly ExternalPeer[] => {
    const { key, problem } = decodePassword(passwords[i] ?? "");
    if (problem !== undefined) problems.push(`Peer "${address}" of --peer-router-ips: ${problem}`);
    // Without the key that was meant the session would be open to anybody.
    if (key === undefined && (passwords[i] ?? "") !== "") return [];
    return [{
      address,
      asn: flags.peerRouterAsns[i] ?? 0,
      port: flags.peerRouterPorts[i] ?? BGP_PORT,
      ...(key === undefined ? {} : { key }),
      ...(bfd === undefined ? {} : { bfd }),
    }];
  });
  return { peers, problems };
}

/** The peers of a node's annotations: of `peers` as soon as it is there, else of the older ones, one a field. */
export function annotatedPeers(annotations: Readonly<Record<string, string>>): ExternalPeers {
  const yaml = annotations[PEERS];
  return yaml === undefined ? individualPeers(annotations) : yamlPeers(yaml);
}

/** What is given of a peer, not yet checked. */
interface GivenPeer {
  readonly address: unknown;
  readonly asn: unknown;
  readonly port?: unknown;
  readonly local?: unknown;
  readonly password?: unknown;
  readonly bfd?: unknown;
}

/** Checks each of a list on its own: one that is wrong costs only itself. */
function checked(annotation: string, list: readonly GivenPeer[]): ExternalPeers {
  const peers: ExternalPeer[] = [];
  const problems: string[] = [];
  for (const [i, given] of list.entries()) {
    const name = `Annotation ${annotation}, peer ${i + 1}`;
    const warnings: string[] = [];
    const peer = checkPeer(given, warnings);
    if (typeof peer === "string") problems.push(`${name}: ${peer}; the peer is left out`);
    else if (peers.some(({ address }) => address === peer.address)) {
      problems.push(`${name}: "${peer.address}" is there before; the first one counts`);
    } else {
      peers.push(peer);
      problems.push(...warnings.map((warning) => `${name} ("${peer.address}"): ${warning}`));
    }
  }
  return { peers, problems };
}

/** The peer, or what is wrong with it. */
function checkPeer(given: GivenPeer, warnings: string[]): ExternalPeer | string {
  if (isAbsent(given.address)) return "remoteip cannot be empty";
  const address = canonicalIp(String(given.address));
  if (address === undefined) return `"${String(given.address)}" is no IP address`;
  if (isAbsent(given.asn)) return "remoteasn cannot be empty";
  const asn = numberOf(given.asn, MAX_UINT32);
  if (asn === undefined) return `"${String(given.asn)}" is no AS number (0 to 4294967295)`;
  if (!isPeerAsn(asn)) {
    return `AS number ${asn} is reserved; allowed are 1-23455, 23457-63999, 64512-65534 and 131072-4294967294`;
  }
  const port = isAbsent(given.port) ? 0 : numberOf(given.port, 65535);
  if (port === undefined) return `"${String(given.port)}" is no port (1 to 65535)`;
  const local = isAbsent(given.local) ? undefined : canonicalIp(String(given.local));
  if (!isAbsent(given.local) && local === undefined) {
    return `its own address "${String(given.local)}" is no IP address`;
  }
  if (!isAbsent(given.password) && typeof given.password !== "string") {
    return "its password is no text; put it in quotes";
  }
  const { key, problem } = decodePassword(typeof given.password === "string" ? given.password : "");
  if (problem !== undefined) {
    if (key === undefined) return problem;
    warnings.push(problem);
  }
  const bfd = isAbsent(given.bfd) ? {} : checkBfd(given.bfd);
  if (typeof bfd === "string") return bfd;
  return {
    address,
    asn,
    port: port === 0 ? BGP_PORT : port,
    ...(local === undefined ? {} : { local }),
    ...(key === undefined ? {} : { key }),
    ...bfd,
  };
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || value === "";
}

function numberOf(value: unknown, max: number): number | undefined {
  if (typeof value === "number") {
    return Number.isInteger(value) && value >= 0 && value <= max ? value : undefined;
  }
  return typeof value === "string" ? parseUint(value, max) : undefined;
}

const BFD_FIELDS = {
  port: { fallback: 3784, max: 65535 },
  detection_multiplier: { fallback: 3, max: 255 },
  // ms; as µs in 32 bits they must fit into the packet.
  desired_min_tx_interval: { fallback: 1000, max: 4294967 },
  required_min_rx_interval: { fallback: 1000, max: 4294967 },
} as const;

/** The settings, nothing, or what is wrong. Numbers are checked even where BFD is off, as kube-router does. */
function checkBfd(given: unknown): { readonly bfd?: BfdSettings } | string {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    return "bfd is no object";
  }
  const fields = lowerKeys(given);
  const values: Record<string, number> = {};
  for (const [name, { fallback, max }] of Object.entries(BFD_FIELDS)) {
    const field = fields[name];
    const value = field === undefined || field === null ? fallback : numberOf(field, max);
    if (value === undefined || value === 0) {
      return `bfd.${name} cannot be "${String(field)}"; allowed is 1 to ${max}`;
    }
    values[name] = value;
  }
  const { enabled } = fields;
  if (enabled !== undefined && enabled !== null && typeof enabled !== "boolean") {
    return `bfd.enabled cannot be "${String(enabled)}"; allowed are true and false`;
  }
  if (enabled !== true) return {};
  return {
    bfd: {
      port: values["port"] ?? 0,
      detectionMultiplier: values["detection_multiplier"] ?? 0,
      desiredMinTx: values["desired_min_tx_interval"] ?? 0,
      requiredMinRx: values["required_min_rx_interval"] ?? 0,
    },
  };
}

/** Go's decoder does not look at the case of field names. */
function lowerKeys(value: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k.toLowerCase(), v]));
}

function yamlPeers(text: string): ExternalPeers {
  if (text.trim() === "") return NONE;
  let value: unknown;
  try {
    value = Bun.YAML.parse(text);
  } catch {
    // The parser's message may quote the text, passwords included.
    return unreadable(PEERS, "is no YAML");
  }
  if (value === null || value === undefined) return NONE;
  if (!Array.isArray(value)) return unreadable(PEERS, "is no YAML list of peers");
  return checked(
    PEERS,
    value.map((item: unknown): GivenPeer => {
      const fields = typeof item === "object" && item !== null ? lowerKeys(item) : {};
      return {
        address: fields["remoteip"],
        asn: fields["remoteasn"],
        port: fields["port"],
        local: fields["localip"],
        password: fields["password"],
        bfd: fields["bfd"],
      };
    }),
  );
}

function unreadable(annotation: string, reason: string): ExternalPeers {
  return { peers: [], problems: [`Annotation ${annotation} ${reason}`], unreadable: true };
}

/** The older annotations, lists that belong together by place. Without addresses or AS numbers there are no peers. */
function individualPeers(annotations: Readonly<Record<string, string>>): ExternalPeers {
  const ips = listOf(annotations[IPS]);
  const asns = listOf(annotations[ASNS]);
  if (ips === undefined || asns === undefined) return NONE;
  if (ips.length !== asns.length) {
    return unreadable(
      ASNS,
      `has ${asns.length} values for ${ips.length} in ${IPS}; the number of IPs and ASN numbers must be equal`,
    );
  }
  const optional = { ports: PORTS, passwords: PASSWORDS, localIPs: LOCALS } as const;
  const lists: Record<string, readonly string[]> = {};
  for (const [word, name] of Object.entries(optional)) {
    const list = listOf(annotations[name]) ?? [];
    if (list.length !== 0 && list.length !== ips.length) {
      return unreadable(
        name,
        `has ${list.length} values for ${ips.length} in ${IPS}; the number of ${word} must be either zero, ` +
          "or one per peer router",
      );
    }
    lists[word] = list;
  }
  return checked(
    IPS,
    ips.map((address, i): GivenPeer => ({
      address,
      asn: asns[i],
      port: lists["ports"]?.[i],
      password: lists["passwords"]?.[i],
      local: lists["localIPs"]?.[i],
    })),
  );
}

function listOf(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  return text === "" ? [] : text.split(",").map((item) => item.trim());
}
