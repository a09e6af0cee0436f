/** What authors of plugins get: types that stand alone, a template that works, a dry run. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pluginTypes } from "../../../scripts/types.ts";
import { pluginTemplate, testCluster } from "../../../src/cli/plugin-template.ts";
import { dryRun } from "../../../src/cli/plugin-test.ts";

const ROOT = resolve(import.meta.dir, "../../..");
const SAMPLES = join(ROOT, "test/e2e/plugins");
let folder = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "routelet-author-"));
  writeFileSync(join(folder, "plugin.d.ts"), await pluginTypes());
  writeFileSync(join(folder, "shun.ts"), pluginTemplate("shun"));
  mkdirSync(join(folder, "cluster"));
  writeFileSync(join(folder, "cluster/cluster.yaml"), testCluster("shun"));
  for (const file of ["ban.ts", "wall.ts"]) cpSync(join(SAMPLES, file), join(folder, file));
  cpSync(join(SAMPLES, "bad"), join(folder, "bad"), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function compile(...files: readonly string[]): Promise<string> {
  const child = Bun.spawn([
    join(ROOT, "node_modules/.bin/tsc"),
    ...["--strict", "--noEmit", "--allowImportingTsExtensions", "--exactOptionalPropertyTypes"],
    ...["--noUncheckedIndexedAccess", "--target", "esnext", "--module", "preserve"],
    ...["--types", ""],
    ...files,
  ], { cwd: folder, stdout: "pipe", stderr: "inherit" });
  return await new Response(child.stdout).text();
}

function dry(name: string, given: Readonly<Record<string, string>> = {}) {
  const file = join(folder, `${name}.ts`);
  return dryRun({
    name,
    file,
    module: file,
    manifests: join(folder, "cluster"),
    node: "node1",
    given,
    stderr() {},
  });
}

describe("the types for authors", () => {
  test("are all that plugins need to compile", async () => {
    expect(
      await compile(
        "plugin.d.ts",
        "shun.ts",
        "ban.ts",
        "wall.ts",
        "bad/loops.ts",
        "bad/wants-vip.ts",
      ),
    )
      .toBe("");
  });

  test("are all that the plugin in the documentation needs", async () => {
    const page = await Bun.file(join(ROOT, "docs/plugins.md")).text();
    const [, source = ""] = /```ts\n([\s\S]*?)```/.exec(page) ?? [];
    writeFileSync(join(folder, "documented.ts"), source);
    expect(source).toContain('name: "shun"');
    expect(await compile("documented.ts")).toBe("");
  });

  test("refuse a kind of Linux state that there is not, and an item of another kind", async () => {
    const source = pluginTemplate("wrong");
    writeFileSync(join(folder, "wrong.ts"), source.replace('["routes"]', '["routs"]'));
    expect(await compile("wrong.ts")).toContain("routs");
    writeFileSync(join(folder, "wrong.ts"), source.replace("nextHops: []", "hops: []"));
    expect(await compile("wrong.ts")).toContain("hops");
  });

  test("name nothing that they do not hold", async () => {
    const text = await Bun.file(join(folder, "plugin.d.ts")).text();
    const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
    expect(code).not.toMatch(/\bimport\b|\bfrom "/);
    expect(text).not.toContain("@kubernetes");
  });
});

describe("a dry run", () => {
  test("prints the plan of the plugin that new writes", async () => {
    expect(await dry("shun")).toEqual({
      text: "+ route blackhole 10.244.1.6/32 table 254\n1 to create, 0 to update, 0 to delete\n",
      failed: false,
    });
  });

  test("takes options, and refuses those that the plugin does not know", async () => {
    expect((await dry("shun", { table: "77" })).text).toContain("table 77");
    await expect(dry("shun", { tabel: "77" })).rejects.toThrow('Option "tabel" is unknown');
  });

  test("leaves the API server alone, and refuses options that lb-pool cannot use", async () => {
    const run = (ranges: string) =>
      dryRun({
        name: "lb-pool",
        file: join(ROOT, "plugins.d/lb-pool"),
        module: join(ROOT, "plugins.d/lb-pool/mod.ts"),
        manifests: join(folder, "cluster"),
        node: "node1",
        given: { ranges },
        stderr() {},
      });
    expect(await run("10.9.0.0/24")).toEqual({ text: "nothing to change\n", failed: false });
    const reason = async (ranges: string): Promise<string> =>
      await run(ranges).then(() => "", (error) => error.message);
    expect(await reason("")).toContain('Option "ranges" is empty');
    expect(await reason("10.9.0.0/24,10.9.0.9")).toContain(
      'Ranges "10.9.0.0/24" and "10.9.0.9" overlap',
    );
    expect(await reason("10.9.0.0/99")).toContain('Range "10.9.0.0/99" cannot be used');
  });

  test("gives a host the addresses of its Node", async () => {
    const manifests = join(folder, "hostport");
    mkdirSync(manifests);
    writeFileSync(join(manifests, "node.yaml"), testCluster("none"));
    writeFileSync(join(manifests, "pod.yaml"), HOSTPORT);
    const file = join(ROOT, "plugins.d/hostport.ts");
    const run = (given: Readonly<Record<string, string>>) =>
      dryRun({
        name: "hostport",
        file,
        module: file,
        manifests,
        node: "node1",
        given,
        stderr() {},
      });
    expect((await run({})).text).toBe(
      "+ ipvs service tcp 192.0.2.1:8088 rr\n" +
        "+ ipvs destination tcp 192.0.2.1:8088 -> 10.244.1.9:80 masq weight 1\n" +
        "2 to create, 0 to update, 0 to delete\n",
    );
    expect((await run({ range: "1-1024" })).text).toContain(
      "problem: pod default/web: Its hostPort 8088/TCP is not served: allowed are 1-1024",
    );
    await expect(run({ range: "9-1" })).rejects.toThrow('Option "range" cannot be "9-1"');
  });

  test("prints what the router would be asked to announce, and refuses what it cannot", async () => {
    const manifests = join(folder, "nothing");
    mkdirSync(manifests);
    writeFileSync(join(manifests, "node.yaml"), testCluster("none"));
    const file = join(ROOT, "plugins.d/advertise-static.ts");
    const run = (given: Readonly<Record<string, string>>) =>
      dryRun({
        name: "advertise-static",
        file,
        module: file,
        manifests,
        node: "node1",
        given,
        stderr() {},
      });
    const { text } = await run({
      prefixes: "192.0.2.53/32,192.0.2.1/24",
      communities: "65000:1,no-export",
    });
    expect(text).toBe(
      "+ bgp advertisement 192.0.2.53/32 communities 65000:1 no-export local preference 100\n" +
        "1 to create, 0 to update, 0 to delete\n" +
        "problem: prefix 192.0.2.1/24: Refused bgp advertisement 192.0.2.0/24 communities 65000:1 " +
        'no-export local preference 100: "192.0.2.1/24" has bits behind its length; write 192.0.2.0/24\n',
    );
    await expect(run({ prefixes: "192.0.2.53/32", check: "ping" }))
      .rejects.toThrow('Option "check" cannot be "ping"');
    await expect(run({ rise: "0" })).rejects.toThrow('Option "rise" cannot be 0');
  });

  test("says why a plugin does not run", async () => {
    writeFileSync(join(folder, "broken.ts"), "throw new Error('No such device');\n");
    await expect(dry("broken")).rejects.toThrow("No such device");
  });
});

const HOSTPORT = `apiVersion: v1
kind: Pod
metadata: { name: web, namespace: default }
spec:
  nodeName: node1
  containers: [{ name: web, ports: [{ containerPort: 80, hostPort: 8088 }] }]
status: { phase: Running, podIPs: [{ ip: 10.244.1.9 }] }
`;
