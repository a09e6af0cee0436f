/**
 * Notices what others change in IPVS, which has no events: a check twice a second that may cost 0.25 % of a core.
 *
 * Each check reads all IPv4 services with one call, compares them word by word with the check before, and looks closer
 * only where they differ: at the service itself, and at its destinations where their number is not what we made. A rolling scrub
 * reads some services whole, which finds changed weights, and all changes of IPv6 services.
 */

import type { Actual, Drift, WatchContext } from "../resource.ts";
import {
  type IpvsDestination,
  ipvsDestination,
  type IpvsService,
  ipvsService,
  type IpvsServiceId,
} from "../resources/ipvs.ts";
import {
  getService,
  type IpvsConnection,
  type IpvsHandle,
  listDestinations,
} from "./ipvs-connection.ts";
import type { IpvsMirror, MirrorEntry } from "./ipvs-mirror.ts";
import { ServiceTable } from "./ipvs-sockopt.ts";

const PERIOD_MS = 500;
/** Share of a core that checks may take, and what they may take at once after a quiet time. */
const SHARE = 0.0018;
const CREDIT_MS = 100;
/** Longest pause a service, whatever checks seem to cost: on a machine whose cores others take, every check seems dear. */
const PAUSE_A_SERVICE_MS = 0.25;
/** Services that one check reads whole, unless that takes too long. */
const SCRUB = 64;
const SCRUB_MS = 1;
/** Differences of one check above which a full list is cheaper than looking at each. */
const MANY = 512;

/** What one check found. */
interface Findings {
  readonly services: Drift<IpvsService>[];
  readonly destinations: Drift<IpvsDestination>[];
  /** Services whose destinations were read, with the keys that are there; what else the runtime knows of is gone. */
  readonly read: Map<string, ReadonlySet<string>>;
}

export class IpvsDrift {
  readonly #connection: IpvsConnection;
  readonly #mirror: IpvsMirror;
  readonly #owns: (key: string) => boolean;
  #services: WatchContext<IpvsService> | undefined;
  #destinations: WatchContext<IpvsDestination> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #credit = CREDIT_MS;
  #checked = 0;
  #before = new ServiceTable();
  #now = new ServiceTable();
  #scrub: Iterator<[string, MirrorEntry]> | undefined;
  #failing = false;

  constructor(connection: IpvsConnection, mirror: IpvsMirror, owns: (key: string) => boolean) {
    this.#connection = connection;
    this.#mirror = mirror;
    this.#owns = owns;
  }

  watchServices(context: WatchContext<IpvsService>): () => void {
    this.#services = context;
    this.#start();
    return () => {
      this.#services = undefined;
      this.#stopIfIdle();
    };
  }

  watchDestinations(context: WatchContext<IpvsDestination>): () => void {
    this.#destinations = context;
    this.#start();
    return () => {
      this.#destinations = undefined;
      this.#stopIfIdle();
    };
  }

  close(): void {
    this.#services = this.#destinations = undefined;
    this.#stopIfIdle();
  }

  #start(): void {
    if (this.#timer !== undefined) return;
    this.#checked = performance.now();
    this.#schedule(PERIOD_MS);
  }

  #stopIfIdle(): void {
    if (this.#services !== undefined || this.#destinations !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(milliseconds: number): void {
    this.#timer = setTimeout(() => this.#tick(), milliseconds);
    this.#timer.unref();
  }

  #tick(): void {
    const handle = this.#connection.open;
    // An apply or list under way leaves Linux and the mirror apart for a moment.
    if (handle === undefined || !this.#mirror.listed || this.#connection.busy) {
      this.#schedule(PERIOD_MS);
      return;
    }
    const start = performance.now();
    let found = false;
    try {
      found = this.check(handle);
      this.#failing = false;
    } catch {
      // The full list that "unknown" asks for meets the same error, and has someone to tell it to.
      if (!this.#failing) this.#report("unknown", "unknown");
      this.#failing = true;
    }
    // A bucket rather than a multiple of the last cost: one slow check must not put off the next by ten seconds. Looking closer
    // at what others changed is repair, not idling, and the next change of theirs is likely near.
    const cost = Math.min(performance.now() - start, found ? PERIOD_MS * SHARE : Infinity);
    const longest = PERIOD_MS + PAUSE_A_SERVICE_MS * this.#mirror.entries.size;
    const credit = Math.min(CREDIT_MS, this.#credit + (start - this.#checked) * SHARE) - cost;
    this.#credit = Math.max(credit, -longest * SHARE);
    this.#checked = start;
    if (this.#timer !== undefined) {
      this.#schedule(Math.max(PERIOD_MS, this.#credit < 0 ? -this.#credit / SHARE : 0));
    }
  }

  /** One check, now; true when it reported something. @throws {KernelError} when Linux cannot be read */
  check(handle: IpvsHandle): boolean {
    const findings: Findings = { services: [], destinations: [], read: new Map() };
    const differing = this.#compareServices(handle, findings);
    if (differing) this.#scrubSome(handle, findings);
    this.#mirror.round++;
    if (!differing || findings.services.length > MANY || findings.read.size > 2 * MANY) {
      this.#report("unknown", "unknown");
      return true;
    }
    this.#findMissing(findings);
    this.#report(findings.services, findings.destinations);
    return findings.services.length > 0 || findings.destinations.length > 0;
  }

  #report(
    services: readonly Drift<IpvsService>[] | "unknown",
    destinations: readonly Drift<IpvsDestination>[] | "unknown",
  ): void {
    if (services.length > 0) this.#services?.drift(services);
    if (destinations.length > 0) this.#destinations?.drift(destinations);
  }

  /** Looks at the IPv4 services that differ from the check before; false when they are too many. */
  #compareServices(handle: IpvsHandle, findings: Findings): boolean {
    const before = this.#before;
    const now = this.#now;
    handle.sockopt.services(now);
    let moved = now.length !== before.length;
    let wrong = 0;
    for (let index = 0; index < now.length; index++) {
      if (!now.differs(before, index)) continue;
      if (!now.sameIdentity(before, index)) moved = true;
      // After a change of ours thousands may differ, all as they should: no texts are made for them.
      const known = this.#mirror.numbers.get(now.number(index));
      if (
        known !== undefined && now.matches(index, known.item) &&
        (known.count < 0 || known.count === now.destinations(index))
      ) continue;
      const item = now.item(index);
      if (item === undefined) continue;
      if (this.#look(handle, findings, item, now.destinations(index)) && ++wrong > MANY) {
        return this.#swap(false);
      }
    }
    if (moved) this.#findMissingServices(now, findings);
    return this.#swap(true);
  }

  #swap(result: boolean): boolean {
    [this.#before, this.#now] = [this.#now, this.#before];
    return result;
  }

  /** Compares one service of Linux with what we made; true when they differ. */
  #look(
    handle: IpvsHandle,
    findings: Findings,
    item: IpvsService,
    destinations: number,
  ): boolean {
    const key = item.id.key;
    const entry = this.#mirror.entries.get(key);
    if (entry === undefined) {
      const have = this.#services?.actual.get(key);
      if (have !== undefined && ipvsService.equal(item, have.item)) return false;
      findings.services.push({ key, actual: { item, owned: this.#owns(key) } });
      return true;
    }
    const changed = this.#settings(findings, entry, item);
    // Unknown after a lost answer: the runtime has been told, and reads all.
    if (entry.count < 0 || entry.count === destinations) return changed;
    this.#readDestinations(handle, findings, entry);
    return true;
  }

  #settings(findings: Findings, entry: MirrorEntry, item: IpvsService): boolean {
    if (ipvsService.equal(entry.item, item)) return false;
    entry.item = { ...item, id: entry.item.id };
    findings.services.push({ key: item.id.key, actual: { item: entry.item, owned: true } });
    return true;
  }

  /** IPv4 services that we or the runtime know of and that Linux no longer has. */
  #findMissingServices(now: ServiceTable, findings: Findings): void {
    const round = this.#mirror.round;
    const others = new Set<string>();
    for (let index = 0; index < now.length; index++) {
      const known = this.#mirror.numbers.get(now.number(index));
      if (known !== undefined) known.seen = round;
      else others.add(now.item(index)?.id.key ?? "");
    }
    for (const [key, { item, seen }] of this.#mirror.entries) {
      if (item.id.family === 4 && seen !== round && !others.has(key)) this.#gone(findings, key);
    }
    for (const [key, { item, owned }] of this.#services?.actual ?? []) {
      if (!owned && item.id.family === 4 && !others.has(key)) findings.services.push({ key });
    }
  }

  #gone(findings: Findings, key: string): void {
    this.#mirror.deleteService(key);
    findings.services.push({ key });
    findings.read.set(key, new Set());
  }

  #readDestinations(handle: IpvsHandle, findings: Findings, entry: MirrorEntry): void {
    const context = this.#destinations;
    const id: IpvsServiceId = entry.item.id;
    const listed = listDestinations(handle, id, Math.max(entry.count, 0));
    const keys = new Set<string>();
    let known = 0;
    for (const item of listed) {
      const key = ipvsDestination.key(item);
      keys.add(key);
      const have: Actual<IpvsDestination> | undefined = context?.actual.get(key);
      if (have !== undefined) known++;
      if (have !== undefined && ipvsDestination.equal(item, have.item)) continue;
      findings.destinations.push({ key, actual: { item, owned: true } });
    }
    // All that we made is there: no need to walk the runtime's 50,000 for what is not.
    if (known !== entry.count) findings.read.set(id.key, keys);
    entry.count = listed.length;
  }

  /** Destinations that the runtime knows of, of services that were read, and that were not there: one pass for all. */
  #findMissing(findings: Findings): void {
    if (findings.read.size === 0) return;
    for (const [key, { item }] of this.#destinations?.actual ?? []) {
      const present = findings.read.get(item.service.key);
      if (present !== undefined && !present.has(key)) findings.destinations.push({ key });
    }
  }

  /** Takes Linux as it is now for looked at: whoever lists right after this sees all that changed before. */
  rebase(handle: IpvsHandle): void {
    handle.sockopt.services(this.#before);
  }

  /** Reads the next few services whole, in turn. */
  #scrubSome(handle: IpvsHandle, findings: Findings): void {
    const entries = this.#mirror.entries;
    const start = performance.now();
    for (let count = Math.min(SCRUB, entries.size); count > 0; count--) {
      if (count % 8 === 0 && performance.now() - start > SCRUB_MS) return;
      this.#scrub ??= entries.entries();
      const next = this.#scrub.next();
      if (next.done === true) {
        this.#scrub = undefined;
        continue;
      }
      const [key, entry] = next.value;
      // Just changed by us: the runtime may not have taken note yet.
      if (entry.round === this.#mirror.round || findings.read.has(key)) continue;
      if (entry.item.id.family === 6) {
        const found = getService(handle, entry.item.id);
        if (found === undefined) {
          this.#gone(findings, key);
          continue;
        }
        this.#settings(findings, entry, found.item);
      }
      if (this.#destinations !== undefined) this.#readDestinations(handle, findings, entry);
    }
  }
}
