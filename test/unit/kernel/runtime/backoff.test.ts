import { expect, test } from "bun:test";
import { retryDelay } from "../../../../src/kernel/runtime/backoff.ts";

test("retryDelay() doubles from 100 ms to a minute, however many attempts there were", () => {
  const delays = [1, 2, 3, 4, 10, 11, 50, 10_000].map((attempts) => retryDelay(attempts, 0.5));
  expect(delays).toEqual([100, 200, 400, 800, 51_200, 60_000, 60_000, 60_000]);
});

test("retryDelay() varies by an eighth to either side", () => {
  expect([retryDelay(1, 0), retryDelay(1, 1)]).toEqual([87.5, 112.5]);
});
