import { expect, test } from "bun:test";
import { metricTaker } from "../../../../src/kernel/guest/message-metrics.ts";
import { createMetrics } from "../../../../src/kernel/observe/metrics.ts";

test("labels of a plugin's metric that are no texts do not spoil the page of metrics", async () => {
  const registry = await createMetrics();
  metricTaker(registry, "guest")({
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

test("a plugin has so many series and no more, and a gauge that is emptied gives its own back", async () => {
  const registry = await createMetrics();
  const take = metricTaker(registry, "guest", 2);
  const set = (pod: string, value?: number) =>
    take({
      type: "metric",
      metric: "gauge",
      name: "pods",
      help: "Pods",
      labels: ["pod"],
      ...(value === undefined ? {} : { value, of: { pod } }),
    });
  set("a", 1);
  set("b", 1);
  expect(() => set("c", 1)).toThrow("give labels that take few values");
  set("a", 2);
  expect(await registry.text()).toContain('{pod="a"} 2');
  expect(await registry.text()).not.toContain('pod="c"');
  set("");
  set("c", 1);
  expect(await registry.text()).toContain('pod="c"');
});
