import { expect, test } from "bun:test";
import { pauseBefore } from "../../../../../src/kernel/dataplane/linux/ipset-drift.ts";

test("sets are looked at twice a second, and once a second however costly a look was", () => {
  expect([20, 0, -0.75, -1.2, -40, -1000].map(pauseBefore)).toEqual([
    500,
    500,
    500,
    800,
    1000,
    1000,
  ]);
});
