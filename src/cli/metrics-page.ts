/** The reference page of the metrics, from what the agent registers; `make docs` writes it, a test holds the file equal. */

export interface KnownMetric {
  /** As Prometheus sees it, without the endings of a histogram. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

const INTRODUCTION = `<!-- Made by \`make docs\` from the code; a test holds both equal. -->

# Metrics

With \`--metrics-port\` the agent serves them in Prometheus' text form on \`--metrics-addr\` at
\`--metrics-path\`. Names and labels are kube-router's and kube-proxy's where those have the metric, so
that their dashboards go on. Histograms are in seconds, with the endings \`_bucket\`, \`_sum\` and
\`_count\`. \`deploy/grafana/routelet.json\` is a dashboard of them.

`;

/** The page, before deno fmt. */
export function metricsPage(metrics: readonly KnownMetric[]): string {
  const rows = metrics.map(({ name, type, help, labels }) =>
    `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`
  );
  return `${INTRODUCTION}| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n${
    rows.join("\n")
  }\n`;
}

/** The rows of a page as deno fmt leaves it, or of one before it: cells without their padding. */
export function pageRows(page: string): readonly string[] {
  return page.split("\n").filter((line) => line.startsWith("| `")).map((line) =>
    line.split("|").map((cell) => cell.trim()).join("|")
  );
}
