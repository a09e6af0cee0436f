/** Reads UPDATE messages (RFC 4271 section 4.3, RFC 4760) with the revised error handling of RFC 7606. */

import type { Family } from "../../../../kernel/ip.ts";
import {
  AttributeReader,
  type Attributes,
  blockKind,
  type Issue,
  NO_BYTES,
  sharedHop,
} from "./attributes.ts";
import { copy, u16, u8, Writer } from "./bytes.ts";
import { AttributeFlag, AttributeType, ErrorCode } from "./constants.ts";
import { BgpError } from "./error.ts";
import type { Frame } from "./framer.ts";
import { familyOf } from "./messages.ts";
import { decodePrefixes, PrefixBatch } from "./prefix.ts";

/** What the session has negotiated, as far as reading depends on it. */
export interface UpdateContext {
  readonly fourOctetAs: boolean;
  readonly external: boolean;
  readonly extendedNextHop: boolean;
  readonly families: readonly Family[];
}

/** Keeps attribute sets by the bytes that they were read from and by `blockKind`, so that each is read once. */
export interface AttributeCache<T extends Attributes> {
  find(kind: number, bytes: Uint8Array, from: number, to: number): T | undefined;
  put(kind: number, bytes: Uint8Array, from: number, to: number, attributes: Attributes): T;
}

/** The prefixes of a message. Batches are used again by the next message, of whatever session. */
export interface Update<T extends Attributes> {
  readonly withdrawn: readonly PrefixBatch[];
  readonly announced: readonly { readonly batch: PrefixBatch; readonly attributes: T }[];
  /** Announced with an error that costs the routes (treat-as-withdraw). */
  readonly rejected: readonly PrefixBatch[];
  readonly issues: readonly Issue[];
  readonly endOfRib: Family | undefined;
}

/** RFC 4271 section 4.3: withdrawn length and attribute length. */
const LEAST_BODY = 4;

/** Of all sessions: one message is read at a time, and what it says is used before the next. */
const SHARED = {
  withdrawn4: new PrefixBatch(4),
  nlri4: new PrefixBatch(4),
  mpWithdrawn: new PrefixBatch(6),
  mpReach: new PrefixBatch(6),
  /** The attributes but the multiprotocol ones, and a next hop behind them. */
  block: new Writer(),
};

/** Reads the messages of one session. */
export class UpdateDecoder<T extends Attributes> {
  readonly #context: UpdateContext;
  readonly #cache: AttributeCache<T>;
  /** Of a block as it is. Sessions that read the same bytes differently have different ones. */
  readonly #kind: number;

  constructor(context: UpdateContext, cache: AttributeCache<T>) {
    this.#context = context;
    this.#cache = cache;
    this.#kind = blockKind(context, false, 0);
  }

  /** @throws {BgpError} 3/x where RFC 7606 leaves nothing but to end the session */
  decode({ bytes, start, end }: Frame): Update<T> {
    const withdrawnEnd = start + 2 + u16(bytes, start);
    if (end - start < LEAST_BODY || withdrawnEnd + 2 > end) {
      throw malformedList("The length of the withdrawn routes is wrong");
    }
    const first = withdrawnEnd + 2;
    const nlri = first + u16(bytes, withdrawnEnd);
    if (nlri > end) throw malformedList("The length of the path attributes is wrong");
    if (end - start === LEAST_BODY) {
      return { withdrawn: [], announced: [], rejected: [], issues: [], endOfRib: 4 };
    }
    const withdrawn4 = this.#prefixes(bytes, start + 2, withdrawnEnd, SHARED.withdrawn4);
    const nlri4 = this.#prefixes(bytes, nlri, end, SHARED.nlri4);
    const withdrawn = withdrawn4.count > 0 ? [withdrawn4] : [];
    if (first === nlri) {
      // RFC 7606 section 3(d): missing attributes withdraw the routes.
      const issues: Issue[] = nlri4.count > 0
        ? [{ cost: "withdraw", message: "There are no path attributes" }]
        : [];
      return {
        withdrawn,
        announced: [],
        rejected: nlri4.count > 0 ? [nlri4] : [],
        issues,
        endOfRib: undefined,
      };
    }
    // The common case, by the bytes as they are: sets with a multiprotocol attribute are never kept under these.
    if (nlri4.count > 0) {
      const known = this.#cache.find(this.#kind, bytes, first, nlri);
      if (known !== undefined) {
        return {
          withdrawn,
          announced: [{ batch: nlri4, attributes: known }],
          rejected: [],
          issues: [],
          endOfRib: undefined,
        };
      }
    }
    return this.#walk(bytes, first, nlri, withdrawn, nlri4);
  }

  #prefixes(bytes: Uint8Array, start: number, end: number, batch: PrefixBatch): PrefixBatch {
    batch.reset(4);
    if (start < end && !decodePrefixes(bytes, start, end, batch)) {
      throw new BgpError("A prefix cannot be read", ErrorCode.UpdateMessage, 10);
    }
    if (!this.#context.families.includes(4)) batch.reset(4);
    return batch;
  }

  #walk(
    bytes: Uint8Array,
    first: number,
    last: number,
    withdrawn: PrefixBatch[],
    nlri4: PrefixBatch,
  ): Update<T> {
    const reader = new AttributeReader(this.#context);
    const issues: Issue[] = [];
    const block = SHARED.block;
    block.length = 0;
    let reach: Reach | undefined;
    let unreach: { family: Family | undefined; batch: PrefixBatch } | undefined;
    let attributeCount = 0;
    for (let at = first; at < last;) {
      const flags = u8(bytes, at);
      const type = u8(bytes, at + 1);
      const head = (flags & AttributeFlag.ExtendedLength) !== 0 ? 4 : 3;
      const length = head === 4 ? u16(bytes, at + 2) : u8(bytes, at + 2);
      const from = at + head;
      if (from > last || from + length > last) {
        // RFC 7606 section 4.
        issues.push({ cost: "withdraw", message: `Attribute ${type} runs past the attributes` });
        break;
      }
      attributeCount++;
      const to = from + length;
      if (type === AttributeType.MpReachNlri) {
        if (reach !== undefined) throw malformedList("MP_REACH_NLRI is there twice");
        reach = this.#reach(bytes, from, to);
        this.#checkFlags("MP_REACH_NLRI", flags, issues);
      } else if (type === AttributeType.MpUnreachNlri) {
        if (unreach !== undefined) throw malformedList("MP_UNREACH_NLRI is there twice");
        unreach = this.#unreach(bytes, from, to);
        this.#checkFlags("MP_UNREACH_NLRI", flags, issues);
      } else {
        if ((flags & AttributeFlag.Optional) === 0 && !WELL_KNOWN_TYPES.has(type)) {
          throw new BgpError(
            `Well-known attribute ${type} is unknown`,
            ErrorCode.UpdateMessage,
            2,
            copy(bytes, at, to),
          );
        }
        block.put(bytes.subarray(at, to));
        const issue = reader.take(type, flags, bytes, from, to);
        if (issue !== undefined) issues.push(issue);
      }
      at = to;
    }
    if (unreach !== undefined && unreach.batch.count > 0 && this.#speaks(unreach.family)) {
      withdrawn.push(unreach.batch);
    }
    const endOfRib = unreach !== undefined && unreach.batch.count === 0 && attributeCount === 1 &&
        nlri4.count === 0 && withdrawn.length === 0 && issues.length === 0
      ? unreach.family
      : undefined;
    const announces = nlri4.count > 0 || reach !== undefined;
    if (!announces) {
      // RFC 7606 section 5.2: an error, and nothing that could be withdrawn for it.
      if (issues.some(({ cost }) => cost === "withdraw")) {
        throw malformedList(
          `${issues[0]?.message ?? "An attribute is wrong"}, and no route follows`,
        );
      }
      return { withdrawn, announced: [], rejected: [], issues, endOfRib };
    }
    if (!reader.has(AttributeType.Origin)) {
      issues.push({ cost: "withdraw", message: "ORIGIN is missing" });
    }
    if (!reader.has(AttributeType.AsPath)) {
      issues.push({ cost: "withdraw", message: "AS_PATH is missing" });
    }
    if (nlri4.count > 0 && !reader.has(AttributeType.NextHop)) {
      issues.push({ cost: "withdraw", message: "NEXT_HOP is missing" });
    }
    const batches: { batch: PrefixBatch; nextHop: Uint8Array | undefined }[] = [];
    if (nlri4.count > 0) batches.push({ batch: nlri4, nextHop: undefined });
    if (reach !== undefined && reach.batch.count > 0 && this.#speaks(reach.family)) {
      batches.push({ batch: reach.batch, nextHop: reach.nextHop });
    }
    const rejected: PrefixBatch[] = [];
    const announced: { batch: PrefixBatch; attributes: T }[] = [];
    const bad = issues.some(({ cost }) => cost === "withdraw");
    const attributes = reader.finish();
    for (const { batch, nextHop } of batches) {
      const hop = nextHop ?? attributes.nextHop;
      if (!bad && !isUsableNextHop(hop)) {
        issues.push({ cost: "withdraw", message: "The next hop is not a host's address" });
        rejected.push(batch);
      } else if (bad) rejected.push(batch);
      else announced.push({ batch, attributes: this.#intern(attributes, nextHop, issues) });
    }
    return { withdrawn, announced, rejected, issues, endOfRib };
  }

  /** The set of what `#walk` has put into the block. */
  #intern(
    attributes: Attributes,
    nextHop: Uint8Array | undefined,
    issues: readonly Issue[],
  ): T {
    const block = SHARED.block;
    const { length } = block;
    const kind = blockKind(this.#context, issues.length > 0, nextHop?.length ?? 0);
    if (nextHop !== undefined) block.put(nextHop);
    const { bytes } = block;
    const known = this.#cache.find(kind, bytes, 0, block.length);
    const set = known ??
      this.#cache.put(
        kind,
        bytes,
        0,
        block.length,
        nextHop === undefined ? attributes : { ...attributes, nextHop },
      );
    block.length = length;
    return set;
  }

  #speaks(family: Family | undefined): boolean {
    return family !== undefined && this.#context.families.includes(family);
  }

  #checkFlags(name: string, flags: number, issues: Issue[]): void {
    const kind = flags & (AttributeFlag.Optional | AttributeFlag.Transitive);
    if (kind !== AttributeFlag.Optional) {
      issues.push({ cost: "withdraw", message: `${name} has flags 0x${flags.toString(16)}` });
    }
  }

  /** RFC 4760 section 3; RFC 8950 section 4 for IPv4 prefixes with an IPv6 next hop. */
  #reach(bytes: Uint8Array, from: number, to: number): Reach {
    if (to - from < 5) throw optionalError("MP_REACH_NLRI is too short");
    const family = familyOf(u16(bytes, from), u8(bytes, from + 2));
    const hopLength = u8(bytes, from + 3);
    const prefixes = from + 4 + hopLength + 1;
    if (prefixes > to) throw optionalError("The next hop of MP_REACH_NLRI runs past its end");
    const batch = SHARED.mpReach.reset(family ?? 6);
    if (family === undefined || !this.#speaks(family)) {
      return { family: undefined, nextHop: NO_BYTES, batch };
    }
    const fits = hopLength === 4
      ? family === 4
      : (hopLength === 16 || hopLength === 32) && (family === 6 || this.#context.extendedNextHop);
    if (!fits) throw optionalError(`The next hop of MP_REACH_NLRI has ${hopLength} octets`);
    if (!decodePrefixes(bytes, prefixes, to, batch)) {
      throw optionalError("A prefix of MP_REACH_NLRI cannot be read");
    }
    return { family, nextHop: sharedHop(bytes, from + 4, from + 4 + hopLength), batch };
  }

  #unreach(
    bytes: Uint8Array,
    from: number,
    to: number,
  ): { family: Family | undefined; batch: PrefixBatch } {
    if (to - from < 3) throw optionalError("MP_UNREACH_NLRI is too short");
    const family = familyOf(u16(bytes, from), u8(bytes, from + 2));
    const batch = SHARED.mpWithdrawn.reset(family ?? 6);
    if (family === undefined || !this.#speaks(family)) return { family: undefined, batch };
    if (!decodePrefixes(bytes, from + 3, to, batch)) {
      throw optionalError("A prefix of MP_UNREACH_NLRI cannot be read");
    }
    return { family, batch };
  }
}

interface Reach {
  readonly family: Family | undefined;
  readonly nextHop: Uint8Array;
  readonly batch: PrefixBatch;
}

const WELL_KNOWN_TYPES: ReadonlySet<number> = new Set([
  AttributeType.Origin,
  AttributeType.AsPath,
  AttributeType.NextHop,
  AttributeType.LocalPref,
  AttributeType.AtomicAggregate,
  // Known optional ones with a wrong flag are the reader's to judge, not unknown.
  AttributeType.Med,
  AttributeType.Aggregator,
  AttributeType.Communities,
  AttributeType.OriginatorId,
  AttributeType.ClusterList,
  AttributeType.ExtendedCommunities,
  AttributeType.As4Path,
  AttributeType.As4Aggregator,
  AttributeType.LargeCommunities,
]);

/** RFC 4271 section 6.3: a host's address; not 0/8, loopback, multicast or reserved. */
export function isUsableNextHop(hop: Uint8Array): boolean {
  if (hop.length === 4) {
    const first = u8(hop, 0);
    return first !== 0 && first !== 127 && first < 224;
  }
  if (u8(hop, 0) === 0xff) return false;
  // BIRD writes :: and a link-local address on a link-local session.
  const global = hop.subarray(0, 16);
  return hop.length === 32 || global.some((byte, i) => byte !== (i === 15 ? 1 : 0)) &&
      global.some((byte) => byte !== 0);
}

function malformedList(message: string): BgpError {
  return new BgpError(message, ErrorCode.UpdateMessage, 1);
}

function optionalError(message: string): BgpError {
  return new BgpError(message, ErrorCode.UpdateMessage, 9);
}
