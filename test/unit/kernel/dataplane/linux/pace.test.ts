import { expect, test } from "bun:test";
import { Pace } from "../../../../../src/kernel/dataplane/linux/pace.ts";

test("so many at once, then one each period, and all of them again after a quiet time", () => {
  let now = 0;
  const pace = new Pace(3, 1000, () => now);
  const done: number[] = [];
  const goOn = (until: number): void => {
    for (now += pace.wait(); now < until; now += pace.wait()) {
      pace.spend();
      done.push(now);
    }
    now = until;
  };
  goOn(3500);
  expect(done).toEqual([0, 0, 0, 1000, 2000, 3000]);
  now = 20_000;
  done.length = 0;
  goOn(20_500);
  expect(done).toEqual([20_000, 20_000, 20_000]);
});
