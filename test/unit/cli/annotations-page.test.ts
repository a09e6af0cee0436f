import { expect, test } from "bun:test";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../../..");
const NAME =
  /(?:kube-router\.io|routelet\.io|(?:net\.beta|service|endpoints|topology)\.kubernetes\.io)\/[a-zA-Z][a-zA-Z.-]*[a-zA-Z]/g;

test("the reference page names the annotations and labels that the code reads, and no other", async () => {
  const files = [...new Bun.Glob("{kernel,plugins}/**/*.ts").scanSync(join(ROOT, "src"))];
  const texts = await Promise.all(files.map((file) => Bun.file(join(ROOT, "src", file)).text()));
  const read = new Set(texts.flatMap((text) => text.match(NAME) ?? []));
  const page = await Bun.file(join(ROOT, "docs/reference/annotations.md")).text();
  const named = new Set(page.match(NAME) ?? []);
  expect([...named].toSorted()).toEqual([...read].toSorted());
});
