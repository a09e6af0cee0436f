/** Counts and logs what became of one kind's ops in one round. */

import { described, type Op, type Resource } from "../dataplane/resource.ts";
import type { Logger } from "../plugin.ts";

/** Ops of one kind in one round that are logged one by one; more are summed up in one line. */
const LOGGED_OPS = 20;

interface Count {
  ok: number;
  failed: number;
}

/** An op that Linux has carried out. */
interface Done {
  readonly op: Op<unknown>;
  /** Linux had moved without us. */
  readonly repair: boolean;
}

export class Tally {
  readonly #resource: Resource<unknown>;
  readonly #counts: Readonly<Record<Op<unknown>["verb"], Count>> = {
    create: { ok: 0, failed: 0 },
    update: { ok: 0, failed: 0 },
    delete: { ok: 0, failed: 0 },
  };
  #repaired = 0;
  /** Those that may be logged; the rest is only counted. */
  readonly #done: Done[] = [];

  constructor(resource: Resource<unknown>) {
    this.#resource = resource;
  }

  /** @param repair whether the op repaired something; undefined where Linux refused it */
  add(op: Op<unknown>, repair: boolean | undefined): void {
    const count = this.#counts[op.verb];
    if (repair === undefined) {
      count.failed++;
      return;
    }
    count.ok++;
    if (repair) this.#repaired++;
    if (this.#done.length <= LOGGED_OPS) this.#done.push({ op, repair });
  }

  /** Calls `tell` with each number that is not 0. */
  observe(tell: (kind: string, verb: string, ok: boolean, count: number) => void): void {
    for (const [verb, { ok, failed }] of Object.entries(this.#counts)) {
      if (ok > 0) tell(this.#resource.kind, verb, true, ok);
      if (failed > 0) tell(this.#resource.kind, verb, false, failed);
    }
  }

  log(log: Logger): void {
    if (this.#done.length > LOGGED_OPS) {
      const { create, update, delete: remove } = this.#counts;
      log.info("Changed Linux", {
        kind: this.#resource.kind,
        created: create.ok,
        updated: update.ok,
        deleted: remove.ok,
        repaired: this.#repaired,
      });
      return;
    }
    for (const { op, repair } of this.#done) {
      const item = described(this.#resource, op);
      log.info(repair ? "Repaired Linux" : "Changed Linux", { verb: op.verb, item });
    }
  }
}
