import { expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { metricsPage, pageRows } from "../../../src/cli/metrics-page.ts";
import { allMetrics } from "../../support/metrics-recorder.ts";

const ROOT = resolve(import.meta.dir, "../../..");

test("the reference page of the metrics is what the code registers (make docs)", async () => {
  const page = await Bun.file(join(ROOT, "docs/reference/metrics.md")).text();
  expect(pageRows(page)).toEqual(pageRows(metricsPage(await allMetrics())));
});

interface Dashboard {
  readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
  readonly templating: { readonly list: readonly { readonly query: string }[] };
}

test("the dashboard asks for metrics and labels that there are, and for the endings of their type", async () => {
  const dashboard = await Bun.file(join(ROOT, "deploy/grafana/routelet.json")).json() as Dashboard;
  const known = new Map((await allMetrics()).map((metric) => [metric.name, metric]));
  const texts = [
    ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...dashboard.templating.list.map(({ query }) => query),
  ];
  let asked = 0;
  for (const text of texts) {
    for (
      const [, name = "", selector = ""] of text.matchAll(
        /((?:kube_router|kubeproxy)_\w+)(\{[^}]*\})?/g,
      )
    ) {
      const bare = name.replace(/_(bucket|sum|count)$/, "");
      const metric = known.get(bare) ?? known.get(name);
      expect({ text, known: metric?.name ?? "" }).toEqual({
        text,
        known: metric?.type === "histogram" ? bare : name,
      });
      // Prometheus itself adds the instance.
      const labels = [...selector.matchAll(/(\w+)=/g)].map(([, label]) => label).filter((label) =>
        label !== "instance"
      );
      expect(labels.filter((label) => !(metric?.labels ?? []).includes(label ?? ""))).toEqual([]);
      asked++;
    }
  }
  expect(asked).toBeGreaterThan(20);
});
