import { expect, test } from "bun:test";
import { Turns } from "../../../../../src/kernel/dataplane/linux/turns.ts";

function world() {
  const turns = new Turns();
  const told: string[] = [];
  const work = (name: string, rank: number) =>
    turns.take(rank, async () => {
      told.push(`${name} begins`);
      await Bun.sleep(1);
      told.push(`${name} ends`);
      return name;
    });
  return { turns, told, work };
}

test("one piece of work runs at a time, in order, and gives what it gave", async () => {
  const { told, work } = world();
  expect(await Promise.all([work("a", 1), work("b", 1), work("c", 1)])).toEqual(["a", "b", "c"]);
  expect(told).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
});

test("what is urgent goes before all that waits", async () => {
  const { told, work } = world();
  await Promise.all([work("proxy", 1), work("proxy too", 1), work("firewall", 0)]);
  expect(told.filter((line) => line.endsWith("begins"))).toEqual([
    "proxy begins",
    "firewall begins",
    "proxy too begins",
  ]);
});

test("who is urgent and goes on at once is not interrupted", async () => {
  const { told, work } = world();
  const firewall = async () => {
    await work("chains", 0);
    await work("jumps", 0);
  };
  await Promise.all([firewall(), work("proxy", 1)]);
  expect(told.filter((line) => line.endsWith("begins"))).toEqual([
    "chains begins",
    "jumps begins",
    "proxy begins",
  ]);
});

test("work that fails is its own failure, and the next one runs", async () => {
  const { turns, work } = world();
  const failed = turns.take(0, () => Promise.reject(new Error("no")));
  const next = work("next", 1);
  expect(await failed.catch((error: Error) => error.message)).toBe("no");
  expect(await next).toBe("next");
  expect(await work("later", 1)).toBe("later");
});
