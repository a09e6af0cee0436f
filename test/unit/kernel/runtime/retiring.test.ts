/** Items that nobody wants any more and that drain, over restarts, on a clock turned by hand. */

import { describe, expect, test } from "bun:test";
import { KernelError } from "../../../../src/kernel/dataplane/errors.ts";
import type { Dataplane } from "../../../../src/kernel/dataplane/dataplane.ts";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { record, replay } from "../../../../src/kernel/dataplane/record.ts";
import { tables } from "../../../../src/kernel/dataplane/resources/mod.ts";
import type { IpvsDestination, RetirementRule } from "../../../../src/kernel/plugin.ts";
import { destination, dummy, ipvs, served, vip, wants } from "../../../support/items.ts";
import { type Bench, bench, type BenchOptions } from "../../../support/runtime.ts";
import { type Toy, toyPlugin, wish } from "../../../support/toy.ts";

const VIP = "10.96.0.1";
const AT = `${VIP}:80`;
const A = "10.1.0.1:8080";
const B = "10.1.0.2:8080";
const C = "10.1.0.3:8080";
const KIND = "ipvs.destination";
const KEY = `tcp ${AT} -> ${A}`;
const GRACE = 30_000;

/** Keeps destinations for `GRACE`, and the VIP with them. */
const rule: RetirementRule<IpvsDestination> = (item) => ({
  ms: GRACE,
  needs: [wish(tables.addresses, vip(item.service.address))],
});

async function start(
  toy: (setup: NonNullable<Parameters<typeof toyPlugin>[0]>["setup"]) => Toy,
  given: BenchOptions = {},
  asked: RetirementRule<IpvsDestination> | undefined = rule,
) {
  const made = toy((context) => {
    if (asked !== undefined) context.retire(tables.ipvsDestinations, asked);
  });
  const all = bench([made.plugin], given);
  await all.runtime.start();
  await all.clock.advance(200);
  return { toy: made, ...all };
}

/** A Service with its VIP: endpoints A and B, of which A has connections. */
async function serving(given: BenchOptions = {}, asked?: RetirementRule<IpvsDestination>) {
  const made = await start(
    (setup) => {
      const toy = toyPlugin(setup === undefined ? {} : { setup });
      toy.set("node", wants.link());
      toy.set("web", wants.address(VIP), ...served(AT, A, B));
      return toy;
    },
    given,
    asked,
  );
  made.linux.use(KIND, KEY, true);
  return made;
}

/** The same agent, killed and started again with what is wanted now. */
async function restarted(
  { linux, clock }: Bench,
  ...web: Parameters<Toy["set"]> extends [string, ...infer W] ? W : never
) {
  return await start((setup) => {
    const toy = toyPlugin(setup === undefined ? {} : { setup });
    toy.set("node", wants.link());
    if (web.length > 0) toy.set("web", ...web);
    return toy;
  }, { linux, clock });
}

const weights = ({ linux }: Pick<Bench, "linux">) =>
  linux.dump().split("\n").filter((line) => line.startsWith("ipvs destination"))
    .map((line) => line.replace(`ipvs destination tcp ${AT} -> `, "").replace(" masq weight", ""));

const drained = [`${A} 0 (draining)`, `${B} 1`];
const both = [`${A} 1`, `${B} 1`];

describe("an item that nobody wants any more", () => {
  test("is kept without new connections while it is used, until its time is up", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(GRACE - 1_000);
    expect(weights(made)).toEqual(drained);
    await made.clock.advance(2_000);
    expect(weights(made)).toEqual([`${B} 1`]);
    expect(made.clock.waiting).toBe(1);
  });

  test("goes as soon as nothing uses it", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(5_000);
    expect(weights(made)).toEqual(drained);
    made.linux.use(KIND, KEY, false);
    await made.clock.advance(2_000);
    expect(weights(made)).toEqual([`${B} 1`]);
  });

  test("stays for good when it is wanted again, and drains anew after that", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(GRACE - 1_000);
    made.toy.set("web", wants.address(VIP), ...served(AT, A, B));
    await made.clock.advance(10 * GRACE);
    expect(weights(made)).toEqual(both);
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(GRACE - 1_000);
    expect(weights(made)).toEqual(drained);
  });

  test("leaves nothing to do while it is kept, and is put right when it is changed by hand", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(1_000);
    expect(made.status().pending).toBe(0);
    const [preview] = await made.runtime.preview();
    expect(preview?.tables.flatMap(({ upserts, deletes }) => [...upserts, ...deletes])).toEqual([]);
    made.linux.drift(KIND, KEY, destination(AT, A, { weight: 5 }));
    await made.clock.advance(1_000);
    expect(weights(made)).toEqual(drained);
  });

  test("is not made again when it is lost", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(1_000);
    made.linux.drift(KIND, KEY, undefined);
    await made.clock.advance(5_000);
    expect(weights(made)).toEqual([`${B} 1`]);
  });

  test("goes at once where the rule says so", async () => {
    const made = await serving({}, () => undefined);
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(200);
    expect(weights(made)).toEqual([`${B} 1`]);
  });

  test("goes as soon as the rule keeps it no more", async () => {
    let stands = true;
    const made = await serving({}, () => stands ? { ms: GRACE } : undefined);
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(1_000);
    expect(weights(made)).toEqual(drained);
    stands = false;
    made.toy.set("other", wants.address("10.96.0.9"));
    await made.clock.advance(1_000);
    expect(weights(made)).toEqual([`${B} 1`]);
  });

  test("is deleted once more where Linux refused, not kept again", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(1_000);
    made.linux.failNext(KIND, "delete", "EBUSY");
    await made.clock.advance(GRACE + 5_000);
    expect(weights(made)).toEqual([`${B} 1`]);
  });

  test("keeps what it stands on, and takes it along in the end", async () => {
    const made = await serving();
    made.toy.set("web");
    await made.clock.advance(GRACE - 1_000);
    // B is not used.
    expect(made.linux.dump()).toBe(
      `link kube-dummy-if type dummy up\naddress ${VIP}/32 dev kube-dummy-if\n` +
        `route local ${VIP}/32 dev kube-dummy-if table 255 src ${VIP} (linux)\n` +
        `ipvs service tcp ${AT} rr\nipvs destination ${KEY} masq weight 0 (draining)\n`,
    );
    const [preview] = await made.runtime.preview();
    expect(preview?.tables.flatMap(({ upserts, deletes }) => [...upserts, ...deletes])).toEqual([]);
    await made.clock.advance(5_000);
    expect(made.linux.dump()).toBe("link kube-dummy-if type dummy up\n");
  });

  test("goes on draining below another Service that takes the address", async () => {
    const made = await serving();
    made.toy.set("web");
    made.toy.set(
      "new",
      wants.address(VIP),
      wish(tables.ipvsServices, ipvs(AT, { scheduler: "lc" })),
    );
    await made.clock.advance(1_000);
    made.toy.set(
      "new",
      wants.address(VIP),
      wish(tables.ipvsServices, ipvs(AT, { scheduler: "lc" })),
      wish(tables.ipvsDestinations, destination(AT, B)),
    );
    await made.clock.advance(1_000);
    expect(weights(made)).toEqual(drained);
    expect(made.linux.dump()).toContain(`ipvs service tcp ${AT} lc`);
    expect(made.status().problems).toEqual([]);
  });
});

test("a recording of a draining is replayed to the same end", async () => {
  const linux = fakeDataplane();
  const lines: string[] = [];
  /** Endpoint A goes, and later nothing uses it any more. */
  const story = async (dataplane: Dataplane) => {
    const made = await serving({ linux, dataplane });
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(200);
    made.linux.use(KIND, KEY, false);
    await made.clock.advance(3_000);
    return made.status();
  };
  const before = await story(record(linux, (line) => lines.push(line)));
  expect(weights({ linux })).toEqual([`${B} 1`]);
  expect(lines.map((line) => JSON.parse(line).event)).toContain("idle");
  const again = replay(lines);
  expect((await story(again)).owned).toEqual(before.owned);
  expect(again.left).toBe(0);
});

describe("a restart", () => {
  test("adopts what drains, with the time that is left", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(GRACE - 5_000);
    await made.runtime.stop();
    const again = await restarted(made, wants.address(VIP), ...served(AT, B));
    expect(weights(again)).toEqual(drained);
    await again.clock.advance(3_000);
    expect(weights(again)).toEqual(drained);
    await again.clock.advance(4_000);
    expect(weights(again)).toEqual([`${B} 1`]);
  });

  test("deletes what should have gone while no agent ran", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(5_000);
    await made.runtime.stop();
    await made.clock.advance(2 * GRACE);
    expect(weights(await restarted(made, wants.address(VIP), ...served(AT, B)))).toEqual([
      `${B} 1`,
    ]);
  });

  test("drains what came to be unwanted while no agent ran", async () => {
    const made = await serving();
    await made.runtime.stop();
    const again = await restarted(made, wants.address(VIP), ...served(AT, B));
    expect(weights(again)).toEqual(drained);
    await again.clock.advance(GRACE + 1_000);
    expect(weights(again)).toEqual([`${B} 1`]);
  });

  test("keeps the VIP of a Service that drains", async () => {
    const made = await serving();
    made.toy.set("web");
    await made.clock.advance(5_000);
    await made.runtime.stop();
    const again = await restarted(made);
    expect(made.linux.dump()).toContain(`address ${VIP}/32 dev ${dummy.name}`);
    expect(weights(again)).toEqual([`${A} 0 (draining)`]);
    await again.clock.advance(GRACE);
    expect(made.linux.dump()).toBe("link kube-dummy-if type dummy up\n");
  });

  test("holds up nothing where its time cannot be noted, and is noted when it can", async () => {
    let full = true;
    const linux = fakeDataplane();
    const noSpace = () => {
      if (full) throw new KernelError("write the ownership ledger", "ENOSPC");
    };
    const dataplane: Dataplane = {
      ...linux,
      open(ref, owner) {
        const table = linux.open(ref, owner);
        const { retirements } = table;
        if (retirements === undefined) return table;
        return {
          ...table,
          retirements: {
            ...retirements,
            note: (deadlines) => (noSpace(), retirements.note(deadlines)),
            forget: (keys) => (noSpace(), retirements.forget(keys)),
          },
        };
      },
    };
    const made = await serving({ linux, dataplane });
    made.toy.set("web", wants.address(VIP), ...served(AT, B, C));
    await made.clock.advance(1_000);
    expect(weights(made)).toEqual([...drained, `${C} 1`]);
    expect(made.takeLog()).toContain("warn Deadlines of what drains are not noted");
    full = false;
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(GRACE - 5_000);
    await made.runtime.stop();
    const again = await restarted(made, wants.address(VIP), ...served(AT, B));
    expect(weights(again)).toEqual(drained);
    await again.clock.advance(5_000);
    expect(weights(again)).toEqual([`${B} 1`]);
  });

  test("forgets the time of what was wanted again meanwhile", async () => {
    const made = await serving();
    made.toy.set("web", wants.address(VIP), ...served(AT, B));
    await made.clock.advance(GRACE - 5_000);
    await made.runtime.stop();
    const again = await restarted(made, wants.address(VIP), ...served(AT, A, B));
    expect(weights(again)).toEqual(both);
    again.toy.set("web", wants.address(VIP), ...served(AT, B));
    await again.clock.advance(GRACE - 5_000);
    expect(weights(again)).toEqual(drained);
  });
});
