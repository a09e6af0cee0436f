/** Plugins of third parties in the runtime: they come and go, and step back for the built-in ones. */

import { expect, test } from "bun:test";
import { bench } from "../../../support/runtime.ts";
import { served } from "../../../support/items.ts";
import { toyPlugin } from "../../../support/toy.ts";

const AT = "10.96.0.1:80";
const A = "10.1.0.1:8080";
const B = "10.1.0.2:8080";

async function withGuest() {
  const own = toyPlugin({ name: "own" });
  const other = toyPlugin({ name: "other" });
  const made = bench([own.plugin]);
  await made.runtime.start();
  await made.settle();
  made.runtime.admit({
    name: "other",
    file: "/p/other.ts",
    fault: undefined,
    settled: true,
    heard: true,
  });
  const fault = await made.runtime.runGuest({
    plugin: other.plugin,
    options: undefined,
    protocol: 210,
  });
  expect(fault).toBeUndefined();
  return { ...made, own, other };
}

test("a third party's plugin lets go of what a built-in one wants later", async () => {
  const { own, other, linux, status, settle } = await withGuest();
  other.set("theirs", ...served(AT, B));
  await settle();
  expect(linux.dump()).toContain(B);
  own.set("web", ...served(AT, A));
  await settle();
  await settle();
  expect(linux.dump()).toContain(A);
  expect(linux.dump()).not.toContain(B);
  expect(status("own").problems).toEqual([]);
  expect(status("other").problems[0]?.reason).toContain('plugin "own" holds it');
});

test("and gets it back when the built-in one lets go", async () => {
  const { own, other, linux, status, settle } = await withGuest();
  own.set("web", ...served(AT, A));
  other.set("theirs", ...served(AT, B));
  await settle();
  expect(status("other").problemCount).toBeGreaterThan(0);
  own.set("web");
  await settle();
  expect(linux.dump()).toContain(B);
  expect(status("other").problems).toEqual([]);
});

test("of two that are both third parties' the first keeps it", async () => {
  const { runtime, other, linux, settle } = await withGuest();
  const third = toyPlugin({ name: "third" });
  other.set("theirs", ...served(AT, A));
  await settle();
  runtime.admit({
    name: "third",
    file: "/p/third.ts",
    fault: undefined,
    settled: true,
    heard: true,
  });
  await runtime.runGuest({ plugin: third.plugin, options: undefined, protocol: 211 });
  third.set("mine", ...served(AT, B));
  await settle();
  expect(linux.dump()).toContain(A);
  expect(linux.dump()).not.toContain(B);
});

test("the name of a built-in plugin is refused", async () => {
  const { runtime } = await withGuest();
  runtime.admit({ name: "own", file: "/p/own.ts", fault: undefined, settled: true, heard: true });
  expect(
    await runtime.runGuest({
      plugin: toyPlugin({ name: "own" }).plugin,
      options: undefined,
      protocol: 212,
    }),
  ).toBe('another plugin is called "own" as well; rename one of them');
});
