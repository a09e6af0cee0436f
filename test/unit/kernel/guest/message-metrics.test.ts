import { expect, test } from "bun:test";
import { takeMetric } from "../../../../src/kernel/guest/message-metrics.ts";
import { createMetrics } from "../../../../src/kernel/observe/metrics.ts";

test("labels of a plugin's metric that are no texts do not spoil the page of metrics", async () => {
  const registry = await createMetrics();
  takeMetric(registry, "guest", {
    type: "metric",
    metric: "gauge",
    name: "odd",
    help: "Odd",
    labels: ["a"],
    value: 1,
    of: { a: ['x"\ninjected 1'] as unknown as string },
  });
  expect(await registry.text()).toContain(
    'kube_router_plugin_guest_odd{a="x\\"\\ninjected 1"} 1',
  );
});
