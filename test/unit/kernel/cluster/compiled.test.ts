/**
 * The compiled executable reaches a cluster that demands a client certificate. Bun inside `bun build
 * --compile` is another program than the one that runs the tests: dynamic imports are bundled, and the
 * client library's own way of sending requests loses its TLS options there.
 */

import { afterEach, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startApi } from "../../../lab/api/mod.ts";
import { cleanups, service, temporaryFolder } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

const MODULE = join(import.meta.dir, "../../../../src/kernel/cluster/mod.ts");
const LOG = join(import.meta.dir, "../../../../src/kernel/observe/log.ts");

/** Waits until synced, prints what it holds, and says what it cost. */
const PROGRAM = `
import { openApiSource, openManifestSource } from ${JSON.stringify(MODULE)};
import { silentLogger as log } from ${JSON.stringify(LOG)};
const [kind, path] = process.argv.slice(2);
const source = kind === "api"
  ? await openApiSource({ kubeconfig: path, nodeName: "n", log })
  : openManifestSource({ directory: path, nodeName: "n", log });
source.start([{ kind: "services" }]);
const { services } = source.stores;
const deadline = Date.now() + 5000;
while (!services.synced && Date.now() < deadline) await Bun.sleep(5);
console.log(JSON.stringify({
  names: [...services.values()].map(({ metadata }) => metadata.name),
  error: source.state.kinds[0].lastError,
}));
await source.stop();
`;

async function build(folder: string): Promise<string> {
  const entry = join(folder, "program.ts");
  const binary = join(folder, "program");
  writeFileSync(entry, PROGRAM);
  const { exitCode, stderr } = await run([
    process.execPath,
    "build",
    "--compile",
    entry,
    "--outfile",
    binary,
  ]);
  expect(stderr).not.toContain("error");
  expect(exitCode).toBe(0);
  return binary;
}

async function run(command: readonly string[]) {
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, exitCode };
}

test("a compiled executable syncs over TLS by client certificate, and from a folder", async () => {
  const folder = temporaryFolder(undo);
  const api = await startApi({ tls: true });
  undo.add(() => api.close());
  api.apply(service("web"));
  const binary = await build(folder);
  expect(statSync(binary).size).toBeGreaterThan(0);

  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, api.kubeconfig({ user: "certificate" }));
  expect(await run([binary, "api", kubeconfig])).toEqual({
    stdout: '{"names":["web"]}\n',
    stderr: "",
    exitCode: 0,
  });

  const stranger = api.clientCertificate("x", { unknownCa: true });
  writeFileSync(kubeconfig, api.kubeconfig({ user: { certificate: stranger } }));
  // It goes on trying, as an agent must: its answer after the deadline is the error.
  const refused = run([binary, "api", kubeconfig]);

  const manifests = temporaryFolder(undo);
  writeFileSync(
    join(manifests, "web.yaml"),
    "kind: Service\napiVersion: v1\nmetadata: {name: y}\n",
  );
  expect(await run([binary, "manifests", manifests])).toEqual({
    stdout: '{"names":["y"]}\n',
    stderr: "",
    exitCode: 0,
  });
  expect((await refused).stdout).toMatch(/^{"names":\[\],"error":"Cannot list services at https:/);
}, 120_000);
