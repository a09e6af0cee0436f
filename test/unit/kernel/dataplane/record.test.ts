import { describe, expect, test } from "bun:test";
import type { Dataplane } from "../../../../src/kernel/dataplane/dataplane.ts";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { DivergenceError, record, replay } from "../../../../src/kernel/dataplane/record.ts";
import type { Drift } from "../../../../src/kernel/dataplane/resource.ts";
import { type Link, tables } from "../../../../src/kernel/dataplane/resources/mod.ts";

const owner = { name: "proxy", protocol: 201 };
const dummy: Link = { name: "kube-dummy-if", type: "dummy", up: true };

/** What a caller sees of a dataplane in which one list and one op fail. */
async function story(dataplane: Dataplane): Promise<readonly string[]> {
  const links = dataplane.open(tables.links, owner);
  const seen: string[] = [];
  const note = (value: unknown) => void seen.push(JSON.stringify(value));
  for (let i = 0; i < 2; i++) {
    const [outcome] = await links.apply([{ verb: "create", item: dummy }]);
    note([outcome?.error?.message, outcome?.error?.code, outcome?.note]);
  }
  for (let i = 0; i < 2; i++) note(await links.list().catch((e: Error) => e.message));
  return seen;
}

async function recording(): Promise<
  { readonly lines: string[]; readonly seen: readonly string[] }
> {
  const fake = fakeDataplane();
  fake.failNext("link", "create", "EPERM");
  fake.failList("link", "ENOBUFS");
  const lines: string[] = [];
  const seen = await story(record(fake, (line) => lines.push(line)));
  return { lines, seen };
}

describe("a recording", () => {
  test("answers as the dataplane did, errors included", async () => {
    const { lines, seen } = await recording();
    const again = replay(lines);
    expect(await story(again)).toEqual(seen);
    expect(again.left).toBe(0);
    expect(seen[0]).toContain("EPERM");
  });

  test("holds one JSON object a line", async () => {
    const { lines } = await recording();
    expect(lines.map((line) => JSON.parse(line).event)).toEqual(["apply", "apply", "list", "list"]);
    expect(lines.filter((line) => line.includes("\n"))).toEqual([]);
  });

  test("fails where the caller asks for something else", async () => {
    const { lines } = await recording();
    const links = replay(lines).open(tables.links, owner);
    const other = { ...dummy, up: false };
    expect(links.apply([{ verb: "create", item: other }])).rejects.toThrow(DivergenceError);
    const short = replay([]).open(tables.links, owner);
    expect(short.list()).rejects.toThrow(
      'Cannot replay list of "proxy link": the recording has no more lines',
    );
  });

  test("keeps drift and gives it again", async () => {
    const fake = fakeDataplane();
    const lines: string[] = [];
    const links = record(fake, (line) => lines.push(line)).open(tables.links, owner);
    await links.apply([{ verb: "create", item: dummy }]);
    const actual = new Map([[dummy.name, { item: dummy, owned: true }]]);
    links.watch?.({ actual, drift: () => {} });
    fake.drift("link", dummy.name, undefined);

    const again = replay(lines);
    const replayed = again.open(tables.links, owner);
    const seen: (readonly Drift<Link>[] | "unknown")[] = [];
    replayed.watch?.({ actual, drift: (changes) => seen.push(changes) });
    again.deliverDrift();
    expect(seen).toEqual([]);
    await replayed.apply([{ verb: "create", item: dummy }]);
    again.deliverDrift();
    expect(seen).toEqual([[{ key: dummy.name }]]);
  });
});
