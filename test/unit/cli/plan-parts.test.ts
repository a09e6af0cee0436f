import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Change } from "../../../src/cli/plan.ts";
import { groupedText, readManifests, warningsOf } from "../../../src/cli/plan-parts.ts";

const folder = mkdtempSync(join(tmpdir(), "routelet-plan-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function change(verb: Change["verb"], kind: string, key: string, by?: string): Change {
  const description = `${kind} ${key}`;
  return {
    plugin: "proxy",
    verb,
    kind,
    key,
    description,
    item: {},
    ...(by === undefined ? {} : { by }),
  };
}

test("changes stand below the object that asks for them, in the order of the last of each", () => {
  expect(groupedText([
    change("create", "link", "kube-dummy-if", "node"),
    change("create", "address", "10.96.0.1", "service default/web"),
    change("update", "sysctl", "x", "node"),
    change("create", "ipvs.service", "tcp 10.96.0.1:80", "service default/web"),
    change("delete", "ipvs.service", "tcp 10.96.0.9:80"),
  ])).toBe(`# proxy: node
+ link kube-dummy-if
~ sysctl x
# proxy: service default/web
+ address 10.96.0.1
+ ipvs.service tcp 10.96.0.1:80
# proxy: nobody any more
- ipvs.service tcp 10.96.0.9:80
3 to create, 1 to update, 1 to delete
`);
  expect(groupedText([])).toBe("");
});

test("a VIP that strict validation would take away is warned of, and one that was never there is not", () => {
  const problem = (address: string) => ({
    subject: "service default/web",
    reason:
      `External IP "${address}" is not served, since --service-external-ip-range names no range; add its range to that flag`,
  });
  const changes = [change("delete", "ipvs.service", "tcp 203.0.113.1:80", "service default/web")];
  expect(warningsOf(changes, [problem("203.0.113.1"), problem("203.0.113.2")])).toEqual([
    `203.0.113.1 of service default/web would vanish from this node: ${
      problem("203.0.113.1").reason
    }`,
  ]);
});

test("manifests are read from files and folders, and what is wrong in them is said", async () => {
  writeFileSync(
    join(folder, "web.yaml"),
    "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [{ port: 80 }] }\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\n",
  );
  const { objects, problems } = await readManifests([join(folder, "web.yaml")]);
  expect(objects.map(({ kind, key }) => [kind, key])).toEqual([["services", "default/web"]]);
  expect(problems).toEqual(["web.yaml: apps/v1 Deployment is nothing that routelet reads"]);
  expect((await readManifests([folder])).objects).toHaveLength(1);
  expect(readManifests([join(folder, "none.yaml")])).rejects.toThrow(
    "there is no file and no folder",
  );
  writeFileSync(join(folder, "bad.yaml"), "a: [\n");
  expect(readManifests([folder])).rejects.toThrow('manifest "bad.yaml"');
});
