/** Who we are and whom we trust, against a server that really demands it. */

import { afterEach, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { join } from "node:path";
import { createApiSource } from "../../../../src/kernel/cluster/api-source.ts";
import { inClusterCredentials } from "../../../../src/kernel/cluster/in-cluster.ts";
import type { ClusterSource } from "../../../../src/kernel/cluster/mod.ts";
import { silentLogger } from "../../../../src/kernel/observe/log.ts";
import {
  type ApiOptions,
  type KubeconfigOptions,
  type LabApi,
  startApi,
  type TlsOptions,
  writeExecPlugin,
  writeTokenFile,
} from "../../../lab/api/mod.ts";
import { cleanups, openSource, QUICK, service, temporaryFolder, until } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

async function tlsApi(tls: TlsOptions = {}, options: ApiOptions = {}): Promise<LabApi> {
  const api = await startApi({ tls, bookmarkSeconds: 0, ...options });
  undo.add(() => api.close());
  api.apply(service("web"));
  return api;
}

async function connect(
  api: LabApi,
  options: KubeconfigOptions,
  edit: (yaml: string) => string = (yaml) => yaml,
): Promise<ClusterSource> {
  const folder = temporaryFolder(undo);
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, edit(api.kubeconfig(options)));
  const source = await openSource(undo, { kubeconfig });
  source.start([{ kind: "services" }]);
  return source;
}

async function errorOf(source: ClusterSource): Promise<string> {
  await until("an error", () => source.state.kinds[0]?.lastError !== undefined);
  expect(source.stores.services.synced).toBe(false);
  return source.state.kinds[0]?.lastError ?? "";
}

async function synced(source: ClusterSource): Promise<void> {
  await until("synced", () => source.stores.services.synced);
  expect([...source.stores.services.keys()]).toEqual(["default/web"]);
}

test("a client certificate and the cluster's CA are sent and checked over TLS", async () => {
  const api = await tlsApi();
  await synced(await connect(api, { user: "certificate" }));
  expect(api.url).toStartWith("https://");
});

test("a token is sent over TLS", async () => {
  await synced(await connect(await tlsApi(), { user: "token" }));
});

test("without credentials the server refuses, and the error says so", async () => {
  const api = await tlsApi();
  const error = await errorOf(await connect(api, { user: "none" }));
  expect(error).toContain(`Cannot list services at ${api.url}: it refuses the credentials of the`);
  expect(error).toContain("is the token or the client certificate expired or revoked? (401");
});

test.each([
  ["that has expired", { expired: true }, /the client certificate expired at 20/],
  ["of an unknown CA", { unknownCa: true }, /certificate expired or revoked|client certificate of/],
])("a client certificate %s is refused, and the error says so", async (_, options, words) => {
  const api = await tlsApi();
  const certificate = api.clientCertificate("lab-admin", {
    groups: ["system:masters"],
    ...options,
  });
  const error = await errorOf(await connect(api, { user: { certificate } }));
  expect(error).toMatch(/refuses the credentials|TLS handshake failed/);
  expect(error).toMatch(words);
});

test("a server of another CA is not trusted, and the error names the remedy", async () => {
  const error = await errorOf(await connect(await tlsApi({ unknownCa: true }), { user: "token" }));
  expect(error).toContain("is not from a CA that we trust: correct the CA (certificate-authority)");
});

test("a CA file that is put right is read again at the next try", async () => {
  const api = await tlsApi();
  const path = join(temporaryFolder(undo), "ca.crt");
  writeFileSync(path, (await tlsApi()).caPem);
  const source = await connect(
    api,
    { user: "token" },
    (yaml) => yaml.replace(/certificate-authority-data: .*/, `certificate-authority: ${path}`),
  );
  expect(await errorOf(source)).toContain("is not from a CA that we trust");
  writeFileSync(path, api.caPem);
  await synced(source);
});

test("a server's certificate that has expired is named so", async () => {
  const error = await errorOf(await connect(await tlsApi({ expired: true }), { user: "token" }));
  expect(error).toContain("the API server's certificate has expired: renew it");
});

test("a server of another name is not trusted, unless tls-server-name says it", async () => {
  const api = await tlsApi({ names: ["kube.example"] }, { host: "127.0.0.1" });
  const second = api.listen({ host: "127.0.0.2", tls: { names: ["kube.example"] } });
  const trusted = await connect(
    api,
    { user: "token", server: second.url },
    (yaml) => yaml.replace("    cluster:\n", "    cluster:\n      tls-server-name: kube.example\n"),
  );
  await synced(trusted);
  const refused = await connect(
    api,
    { user: "token", server: second.url },
    (yaml) => yaml.replace("    cluster:\n", "    cluster:\n      tls-server-name: not.example\n"),
  );
  expect(await errorOf(refused)).toContain("set tls-server-name to a name in it");
});

test("insecure-skip-tls-verify trusts any server", async () => {
  const api = await tlsApi({ unknownCa: true, expired: true });
  await synced(await connect(api, { user: "token", insecure: true }));
});

test("a token file that rotates is read again when the old token is refused", async () => {
  const api = await tlsApi();
  const path = join(temporaryFolder(undo), "token");
  writeTokenFile(path, `${api.token}\n`);
  const source = await connect(api, { user: { tokenFile: path } });
  await synced(source);
  writeTokenFile(path, api.rotateToken());
  api.fail("drop");
  api.apply(service("next"));
  await until("the change", () => source.stores.services.size === 2);
  expect(source.state.kinds[0]?.relists).toBe(0);
});

test("a token file that is missing for a moment costs nothing", async () => {
  const api = await tlsApi();
  const path = join(temporaryFolder(undo), "token");
  writeTokenFile(path, api.token);
  const source = await connect(api, { user: { tokenFile: path } });
  await synced(source);
  const token = api.rotateToken();
  rmSync(path);
  api.fail("drop");
  await until("refused", () => source.state.kinds[0]?.lastError?.includes("token file") === true);
  writeTokenFile(path, token);
  await until("connected", () => source.state.connected);
  expect(source.stores.services.size).toBe(1);
});

test("an exec plugin's token is used, and the plugin runs again when it is refused", async () => {
  const api = await tlsApi();
  const plugin = join(temporaryFolder(undo), "plugin");
  writeExecPlugin(plugin, { token: api.token });
  const source = await connect(api, { user: { exec: plugin } });
  await synced(source);
  const calls = () => readFileSync(`${plugin}.calls`, "utf8").trim().split("\n").length;
  expect(calls()).toBe(1);
  writeExecPlugin(plugin, { token: api.rotateToken() });
  api.fail("drop");
  api.apply(service("next"));
  await until("the change", () => source.stores.services.size === 2);
  expect(calls()).toBe(2);
});

test("an exec plugin's client certificate is used, and renewed when it expires", async () => {
  const api = await tlsApi();
  const plugin = join(temporaryFolder(undo), "plugin");
  const certificate = api.clientCertificate("lab-admin", { groups: ["system:masters"] });
  writeExecPlugin(plugin, { certificate, expires: new Date(Date.now() + 500).toISOString() });
  const source = await connect(api, { user: { exec: plugin } });
  await synced(source);
  api.fail("drop");
  const calls = () => readFileSync(`${plugin}.calls`, "utf8").trim().split("\n").length;
  await until("the next call", () => {
    api.fail("drop");
    return calls() > 1;
  });
  await until("connected", () => source.state.connected);
});

test("what RBAC forbids is told with verb and resource", async () => {
  const api = await tlsApi();
  api.authorize(({ resource }) => resource !== "services");
  const error = await errorOf(await connect(api, { user: "token" }));
  expect(error).toContain('must allow "list" of "services" (403');
});

test("the pod's service account is used in a cluster, and its token when it rotates", async () => {
  const api = await tlsApi();
  const directory = temporaryFolder(undo);
  writeFileSync(join(directory, "ca.crt"), api.caPem);
  writeTokenFile(join(directory, "token"), api.token);
  const { hostname, port } = new URL(api.url);
  const credentials = await inClusterCredentials({
    directory,
    env: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
  });
  const source = createApiSource(credentials, {
    nodeName: "node1",
    log: silentLogger,
    tuning: QUICK,
  });
  undo.add(() => source.stop());
  source.start([{ kind: "services" }]);
  await synced(source);
  writeTokenFile(join(directory, "token"), api.rotateToken());
  api.fail("drop");
  api.apply(service("next"));
  await until("the change", () => source.stores.services.size === 2);
});

test("outside a pod, without any flag, the error says which flags there are", async () => {
  const error = await inClusterCredentials({ env: {} }).catch((error: unknown) => error);
  expect((error as Error).message).toContain("neither --kubeconfig nor --master is set");
});

test("--master overrides the kubeconfig's server, with its credentials", async () => {
  const api = await tlsApi();
  const folder = temporaryFolder(undo);
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(
    kubeconfig,
    api.kubeconfig({ user: "certificate", server: "https://192.0.2.1:1" })
      .replace(/server: .*/, 'server: "https://192.0.2.1:1"'),
  );
  const source = await openSource(undo, { kubeconfig, master: api.url });
  source.start([{ kind: "services" }]);
  await synced(source);
  expect(source.state.from).toBe(api.url);
});

test("--master alone over plain HTTP sends no credentials", async () => {
  const api = await startApi({ bookmarkSeconds: 0 });
  undo.add(() => api.close());
  api.apply(service("web"));
  const source = await openSource(undo, { master: api.url.replace("http://", "") });
  source.start([{ kind: "services" }]);
  await synced(source);
  expect(source.state.from).toBe(api.url);
});

test("an HTTP proxy is passed, and the server behind it is checked all the same", async () => {
  const api = await tlsApi();
  let tunnels = 0;
  const proxy = createServer((client) => {
    client.on("error", () => {});
    client.once("data", (head) => {
      tunnels++;
      const [, host, port] = /^CONNECT ([^:]+):(\d+)/.exec(head.toString()) ?? [];
      const upstream = connectTcp(Number(port), host, () => {
        client.write("HTTP/1.1 200 OK\r\n\r\n");
        client.pipe(upstream).pipe(client);
      });
      upstream.on("error", () => client.destroy());
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  undo.add(() => proxy.close());
  const { port } = proxy.address() as AddressInfo;
  const proxied = (yaml: string) =>
    yaml.replace("    cluster:\n", `    cluster:\n      proxy-url: http://127.0.0.1:${port}\n`);
  await synced(await connect(api, { user: "certificate" }, proxied));
  expect(tunnels).toBeGreaterThan(0);
  const stranger = await tlsApi({ unknownCa: true });
  const error = await errorOf(await connect(stranger, { user: "token" }, proxied));
  expect(error).toContain("is not from a CA that we trust");
});

test("secrets stand in no error and in no state", async () => {
  const api = await tlsApi();
  const source = await connect(api, { user: { token: "super-secret-token" } });
  const error = await errorOf(source);
  expect(error + JSON.stringify(source.state)).not.toContain("super-secret-token");
});
