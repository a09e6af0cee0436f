import { expect, test } from "bun:test";
import type { Input, Plugin } from "../../../../src/kernel/plugin.ts";
import { bench } from "../../../support/runtime.ts";

test("a change is measured from its arrival, whatever the runtime's clock counts from", async () => {
  const wakes = new Set<(units: Iterable<string>) => void>();
  const arrival: { at?: number } = {};
  const input: Input = {
    name: "changes",
    synced: true,
    get receivedAt() {
      return arrival.at;
    },
    subscribe(wake) {
      wakes.add(wake);
      return () => wakes.delete(wake);
    },
  };
  const plugin: Plugin = {
    name: "toy",
    api: 1,
    watches: [],
    tables: ["links"],
    parse: (raw) => raw,
    setup: ({ reconcile }) =>
      reconcile({ name: "unit", inputs: [input], units: () => [], desired() {} }),
  };
  const measured: (number | undefined)[] = [];
  const { clock, runtime, settle } = bench([plugin as Plugin<never>], {
    observer: () => ({
      round: ({ sinceEvent }) => void measured.push(sinceEvent),
      ops() {},
    }),
  });
  await clock.advance(1_000_000);
  await runtime.start();
  await settle();
  measured.length = 0;

  arrival.at = performance.now() - 250;
  for (const wake of wakes) wake(["one"]);
  await settle();
  expect(measured).toHaveLength(1);
  expect(measured[0]).toBeGreaterThanOrEqual(250);
  expect(measured[0]).toBeLessThan(500_000);
});
