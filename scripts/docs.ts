/** Writes the reference pages that come from the code; tests hold them equal. */
import { join, resolve } from "node:path";
import { errorsPage } from "../src/cli/errors-page.ts";
import { flagsPage } from "../src/cli/flags-page.ts";
import { metricsPage } from "../src/cli/metrics-page.ts";
import { allMetrics } from "../test/support/metrics-recorder.ts";

const ROOT = resolve(import.meta.dir, "..");

await Bun.write(join(ROOT, "docs/reference/flags.md"), flagsPage());
const errors = join(ROOT, "docs/reference/errors.md");
await Bun.write(errors, errorsPage());
const metrics = join(ROOT, "docs/reference/metrics.md");
await Bun.write(metrics, metricsPage(await allMetrics()));
await Bun.$`${join(ROOT, "node_modules/.bin/deno")} fmt ${[metrics, errors]}`.quiet();
console.log("wrote docs/reference/flags.md, metrics.md and errors.md");
