import { expect, test } from "bun:test";
import { createStore, type EndpointSlice } from "../../../../src/kernel/cluster/mod.ts";
import { createMetrics } from "../../../../src/kernel/observe/metrics.ts";
import { programmingLatency } from "../../../../src/kernel/observe/programming.ts";
import { slice } from "../../../support/objects.ts";

const TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time";
const at = (time: string) =>
  slice("default/web-1", ["10.0.0.1"], { metadata: { annotations: { [TRIGGER]: time } } });

async function figures() {
  const slices = createStore<EndpointSlice>("endpointslices");
  const metrics = await createMetrics();
  const latency = programmingLatency(slices, metrics, () => Date.parse("2026-01-01T00:00:10Z"));
  const read = async () =>
    (await metrics.text()).split("\n").filter((line) =>
      /^kubeproxy_network_programming_duration_seconds_(sum|count)/.test(line)
    );
  return { slices, latency, read };
}

test("programming latency runs from the trigger to the end of the round that has it", async () => {
  const { slices, latency, read } = await figures();
  slices.replace([], "1");
  slices.update([["default/web-1", at("2026-01-01T00:00:07Z")]], "2");
  latency.roundStarts();
  latency.roundEnds(true);
  expect(await read()).toEqual([
    "kubeproxy_network_programming_duration_seconds_sum 3",
    "kubeproxy_network_programming_duration_seconds_count 1",
  ]);
});

test("programming latency waits for a round that succeeds, and leaves later changes to the next", async () => {
  const { slices, latency, read } = await figures();
  slices.replace([], "1");
  slices.update([["default/web-1", at("2026-01-01T00:00:06Z")]], "2");
  latency.roundStarts();
  slices.update([["default/web-1", at("2026-01-01T00:00:09Z")]], "3");
  latency.roundEnds(false);
  expect(await read()).toEqual([
    "kubeproxy_network_programming_duration_seconds_sum 0",
    "kubeproxy_network_programming_duration_seconds_count 0",
  ]);
  latency.roundStarts();
  latency.roundEnds(true);
  expect(await read()).toEqual([
    "kubeproxy_network_programming_duration_seconds_sum 5",
    "kubeproxy_network_programming_duration_seconds_count 2",
  ]);
});

test("programming latency says nothing of what was there before the agent", async () => {
  const { slices, latency, read } = await figures();
  slices.replace([at("2025-01-01T00:00:00Z")], "1");
  latency.roundStarts();
  latency.roundEnds(true);
  expect((await read()).at(-1)).toBe("kubeproxy_network_programming_duration_seconds_count 0");
});
