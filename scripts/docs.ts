/** Writes the reference pages that come from the code; tests hold them equal. */
import { join, resolve } from "node:path";
import { flagsPage } from "../src/cli/flags-page.ts";

const ROOT = resolve(import.meta.dir, "..");

await Bun.write(join(ROOT, "docs/reference/flags.md"), flagsPage());
console.log("wrote docs/reference/flags.md");
