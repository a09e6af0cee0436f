/** What happens between transactions of nf_tables: chains that are still in use, and changes of others that nobody heard of. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { NftState } from "../../src/kernel/dataplane/linux/nft/state.ts";
import { nftChainTable } from "../../src/kernel/dataplane/linux/nft/chains.ts";
import { NftWatch } from "../../src/kernel/dataplane/linux/nft/watch.ts";
import type { Actual, Op, Table } from "../../src/kernel/dataplane/resource.ts";
import { type Chain, chain as resource } from "../../src/kernel/dataplane/resources/filter.ts";
import { nftWorld } from "./world.ts";

const owner = { name: "firewall", protocol: 203 };
const create = <T>(item: T): Op<T> => ({ verb: "create", item });
const remove = <T>(item: T): Op<T> => ({ verb: "delete", item });
const named = (name: string, rules: Chain["rules"] = []): Chain => ({
  family: 4,
  table: "filter",
  name: `KUBE-${name}`,
  rules,
});
const jumps = (to: string, address: string): Chain["rules"][number] => ({
  matches: [{ kind: "destination", prefix: `${address}/32` }],
  target: { kind: "jump", chain: `KUBE-${to}` },
});

const lacking = nftWorld.lacks("chain");
const check = (name: string, body: () => Promise<void>) =>
  test.skipIf(lacking !== undefined)(
    lacking === undefined ? name : `${name} (left out: ${lacking})`,
    body,
  );

const namespace = `routelet-nft-${process.pid}`;
let state: NftState;
let watch: NftWatch;
let table: Table<Chain>;

function command(...argv: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr.toString()}`);
  return stdout.toString();
}
const nft = (...words: readonly string[]) =>
  command("ip", "netns", "exec", namespace, "nft", ...words);

async function done(...ops: readonly Op<Chain>[]): Promise<void> {
  const outcomes = await table.apply(ops);
  expect(outcomes.map(({ error }) => error?.message)).toEqual(ops.map(() => undefined));
}

beforeEach(() => {
  if (lacking !== undefined) return;
  command("ip", "netns", "add", namespace);
  state = new NftState({ namespace: `/run/netns/${namespace}` });
  watch = new NftWatch(state, { namespace: `/run/netns/${namespace}` });
  table = nftChainTable(state, watch, owner);
});
afterEach(() => {
  if (lacking !== undefined) return;
  watch.close();
  state.close();
  command("ip", "netns", "del", namespace);
});

describe("chains that go", () => {
  const pods = [1, 2, 3, 4, 5].map((n) => named(`POD-FW-${n}`));
  const top = (of: readonly Chain[]) =>
    named("ROUTER-INPUT", of.map(({ name }, n) => jumps(name.replace("KUBE-", ""), `10.0.0.${n}`)));

  check("go in one transaction with the map that names them", async () => {
    await done(...[...pods, top(pods)].map(create));
    expect(nft("list", "table", "ip", "routelet")).toContain("vmap");
    await done(...[...pods, top(pods)].map(remove));
    expect(nft("list", "tables")).toBe("");
  });

  check("go right behind the transaction in which the map lost them", async () => {
    await done(...[...pods, top(pods)].map(create));
    const [first, ...rest] = pods;
    if (first === undefined) throw new Error("No pod");
    for (let i = 0; i < 20; i++) {
      await done({ verb: "update", item: top(rest), have: top(pods) });
      await done(remove(first));
      await done(create(first), { verb: "update", item: top(pods), have: top(rest) });
    }
  });

  check("go as soon as nothing uses them", async () => {
    await done(create(named("A")), create(named("B")));
    nft("add rule ip routelet KUBE-B counter jump KUBE-A");
    const batch = state.batch.bind(state);
    let refused = 0;
    state.batch = (...words) => {
      const refusals = batch(...words);
      if (refusals.size > 0 && refused++ === 0) nft("flush chain ip routelet KUBE-B");
      return refusals;
    };
    await done(remove(named("A")));
    expect(refused).toBe(1);
    expect(nft("list chains ip")).not.toContain("KUBE-A");
  });

  check("say so where they are in use for good, and cost no others", async () => {
    await done(create(named("A")), create(named("B")), create(named("C")));
    nft("add rule ip routelet KUBE-B counter jump KUBE-A");
    const [a, c] = await table.apply([remove(named("A")), remove(named("C"))]);
    expect(a?.error?.code).toBe("EBUSY");
    expect(c?.error).toBeUndefined();
  });
});

describe("a large transaction, of which Linux tells nobody here", () => {
  const many = Array.from({ length: 1500 }, (_, n) => named(`NWPLCY-${n}`));

  /** Listens, and gives the keys that the watch has said so far. */
  async function listen(): Promise<readonly string[]> {
    const keys: string[] = [];
    const actual = new Map<string, Actual<Chain>>(
      many.map((item) => [resource.key(item), { item, owned: true }]),
    );
    table.watch?.({
      actual,
      drift: (changes) => keys.push(...changes === "unknown" ? [] : changes.map(({ key }) => key)),
    });
    while (state.unheard === undefined) await Bun.sleep(1);
    return keys;
  }

  check("leaves it listening: what others change later is told", async () => {
    const keys = await listen();
    await done(...many.map(create));
    nft("delete chain ip routelet KUBE-NWPLCY-0");
    while (keys.length < 1) await Bun.sleep(5);
    expect(keys).toEqual(["ipv4 filter KUBE-NWPLCY-0"]);
  });

  check("and what others change at that very time is found", async () => {
    await done(...many.map(create));
    const keys = await listen();
    state.unheard?.(() => {
      nft("delete chain ip routelet KUBE-NWPLCY-7");
      return new Map();
    });
    // Of what Linux refused nothing is changed but by others.
    state.unheard?.(() => {
      nft("add chain ip routelet KUBE-NWPLCY-OTHER");
      return new Map([[0, { errno: 22 }]]);
    });
    while (keys.length < 1) await Bun.sleep(5);
    expect(keys.toSorted()).toEqual([
      "ipv4 filter KUBE-NWPLCY-7",
      "ipv4 filter KUBE-NWPLCY-OTHER",
    ]);
  });
});

check("what marks and what sends back is one rule, and is listed as both", async () => {
  const allowed = 0x10000;
  const back = {
    matches: [{ kind: "mark", mark: allowed, mask: allowed }],
    target: { kind: "return" },
  } as const;
  const marks = (n: number) => ({
    matches: [{ kind: "source", prefix: `10.0.${n}.0/24` }],
    target: { kind: "mark", set: allowed, mask: allowed },
    comment: `allows ${n}`,
  } as const);
  const chain = named("NWPLCY-A", [marks(1), back, marks(2), back]);
  await done(create(chain));
  const text = nft("list chain ip routelet KUBE-NWPLCY-A");
  expect(text.match(/counter packets 0 bytes 0 meta mark set .* return comment "allows/g))
    .toHaveLength(2);
  const equal = async () => {
    const [have] = await table.list();
    return have !== undefined && resource.equal(chain, have.item);
  };
  expect(await equal()).toBe(true);
  nft("add rule ip routelet KUBE-NWPLCY-A counter accept");
  expect(await equal()).toBe(false);
  await done({ verb: "update", item: chain, have: chain });
  expect(await equal()).toBe(true);
});
