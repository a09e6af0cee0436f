import { expect, test } from "bun:test";
import { memoryKeeper } from "../../../../src/kernel/observe/memory.ts";

/** A keeper with timers turned by hand. */
function keeper() {
  let now = 0;
  let collections = 0;
  const due: { readonly at: number; readonly run: () => void }[] = [];
  const kept = memoryKeeper(
    () => collections++,
    (ms, run) => void due.push({ at: now + ms, run }),
  );
  return {
    round(changes: number) {
      kept.worked(changes);
      kept.ended();
    },
    advance(ms: number) {
      now += ms;
      for (let i = due.length - 1; i >= 0; i--) {
        const timer = due[i];
        if (timer === undefined || timer.at > now) continue;
        due.splice(i, 1);
        timer.run();
      }
    },
    collections: () => collections,
  };
}

test("memory is collected when the work of a burst is over, and once more when Linux was looked at", () => {
  const kept = keeper();
  for (let i = 0; i < 5; i++) {
    kept.round(1_000);
    kept.advance(100);
  }
  expect(kept.collections()).toBe(0);
  kept.advance(1_000);
  expect(kept.collections()).toBe(1);
  kept.round(100);
  kept.advance(1_000);
  expect(kept.collections()).toBe(1);
  kept.advance(10_000);
  expect(kept.collections()).toBe(2);
  kept.advance(100_000);
  expect(kept.collections()).toBe(2);
});

test("small changes count together, and are not disturbed while they go on", () => {
  const kept = keeper();
  for (let i = 0; i < 100; i++) {
    kept.round(50);
    kept.advance(400);
  }
  expect(kept.collections()).toBe(0);
  kept.advance(1_000);
  expect(kept.collections()).toBe(1);
});

test("a little work is not worth a collection", () => {
  const kept = keeper();
  kept.round(1_900);
  kept.advance(10_000);
  expect(kept.collections()).toBe(0);
});
