import { afterEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseExec, runExec } from "../../../../src/kernel/cluster/exec-credential.ts";
import { kubeconfigCredentials } from "../../../../src/kernel/cluster/kubeconfig.ts";
import { parseServer } from "../../../../src/kernel/cluster/in-cluster.ts";
import { cleanups, temporaryFolder } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly context?: object;
  readonly current?: string | undefined;
}

function config({ cluster = {}, user = {}, context = {}, ...rest }: Parts): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    ...("current" in rest ? { "current-context": rest.current } : { "current-context": "main" }),
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443", ...cluster } }],
    contexts: [{ name: "main", context: { cluster: "c", user: "u", ...context } }],
    users: [{ name: "u", user }],
  });
}

function write(text: string): { readonly file: string; readonly folder: string } {
  const folder = temporaryFolder(undo);
  const file = join(folder, "kubeconfig");
  writeFileSync(file, text);
  return { file, folder };
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

test("data in the file gives CA, certificate, key, server name and token", async () => {
  const { file } = write(config({
    cluster: { "certificate-authority-data": base64(PEM), "tls-server-name": "kube.example" },
    user: { "client-certificate-data": base64(PEM), "client-key-data": base64(KEY), token: "t" },
  }));
  const credentials = await kubeconfigCredentials(file);
  expect(credentials.server).toBe("https://10.0.0.1:6443");
  expect(await credentials.identity()).toEqual({
    tls: { ca: PEM, cert: PEM, key: KEY, serverName: "kube.example" },
    headers: { authorization: "Bearer t" },
  });
});

test("files are relative to the kubeconfig", async () => {
  const { file, folder } = write(config({
    cluster: { "certificate-authority": "pki/ca.pem" },
    user: { tokenFile: "pki/token" },
  }));
  mkdirSync(join(folder, "pki"));
  writeFileSync(join(folder, "pki/ca.pem"), PEM);
  writeFileSync(join(folder, "pki/token"), "from-file\n");
  expect(await (await kubeconfigCredentials(file)).identity()).toEqual({
    tls: { ca: PEM },
    headers: { authorization: "Bearer from-file" },
  });
});

test("user name and password, and impersonation, become headers", async () => {
  const { file } = write(config({ user: { username: "a", password: "b", as: "other" } }));
  expect((await (await kubeconfigCredentials(file)).identity()).headers).toEqual({
    authorization: `Basic ${base64("a:b")}`,
    "impersonate-user": "other",
  });
});

test("nothing secret is sent over plain HTTP", async () => {
  const { file } = write(config({
    cluster: { server: "http://10.0.0.1:8080" },
    user: { token: "t" },
  }));
  expect(await (await kubeconfigCredentials(file)).identity()).toEqual({ headers: {} });
});

test("an HTTP proxy is taken, another kind is refused", async () => {
  const proxied = write(config({ cluster: { "proxy-url": "http://10.0.0.9:3128" } }));
  expect((await kubeconfigCredentials(proxied.file)).proxy).toBe("http://10.0.0.9:3128");
  const socks = write(config({ cluster: { "proxy-url": "socks5://10.0.0.9" } }));
  const error = await kubeconfigCredentials(socks.file).catch((error: unknown) => error);
  expect((error as Error).message).toContain("must begin with http:// or https://");
});

test.each<[string, string, string]>([
  ["is empty", "", "it holds no object of kind Config: the file is empty"],
  ["is not YAML", "a: [1,\nb: 2\nc", "Cannot parse kubeconfig"],
  ["is another thing", "- a\n", "is this the right file?"],
  [
    "has no current context",
    config({ current: undefined }),
    'it has no current-context: set one of "main" by kubectl config use-context',
  ],
  [
    "names a context that is not there",
    config({ current: "gone" }),
    'its current-context "gone" is not one of its contexts "main"',
  ],
  [
    "names a cluster that is not there",
    config({ context: { cluster: "gone" } }),
    'cluster "gone" of context "main" is not one of its clusters "c"',
  ],
  [
    "names a user that is not there",
    config({ context: { user: "gone" } }),
    'user "gone" of context "main" is not one of its users "u"',
  ],
  ["has a cluster without server", config({ cluster: { server: "" } }), "server is missing"],
  ["has a server that is no URL", config({ cluster: { server: "ftp://x" } }), "it must be a URL"],
  [
    "has data that is not base64",
    config({ cluster: { "certificate-authority-data": "%%%" } }),
    "its data is not base64: copy it again",
  ],
  [
    "has data that is not PEM",
    config({ cluster: { "certificate-authority-data": base64("hello") } }),
    "it is not PEM",
  ],
  [
    "names a key file that is not there",
    config({
      user: { "client-certificate-data": base64(PEM), "client-key": "/nonexistent/key.pem" },
    }),
    '"/nonexistent/key.pem": no such file: correct the path',
  ],
  [
    "has a certificate without key",
    config({ user: { "client-certificate-data": base64(PEM) } }),
    "has a client certificate but no client key: add client-key-data",
  ],
  [
    "uses an auth-provider",
    config({ user: { "auth-provider": { name: "gcp" } } }),
    "use its exec plugin instead",
  ],
  [
    "has an exec plugin without command",
    config({ user: { exec: { apiVersion: "client.authentication.k8s.io/v1" } } }),
    '"command" is missing',
  ],
  [
    "has an exec plugin of an old version",
    config({
      user: { exec: { command: "x", apiVersion: "client.authentication.k8s.io/v1alpha1" } },
    }),
    'must be "client.authentication.k8s.io/v1" or "client.authentication.k8s.io/v1beta1"',
  ],
  [
    "has an exec plugin that is not installed",
    config({
      user: {
        exec: {
          command: "/nonexistent/plugin",
          apiVersion: "client.authentication.k8s.io/v1",
          installHint: "Install it by hand.",
        },
      },
    }),
    'Cannot get credentials from the exec plugin "/nonexistent/plugin": no such file: Install it by hand.',
  ],
])("a kubeconfig that %s is an error that says what to do", async (_, text, message) => {
  const { file } = write(text);
  const error = await kubeconfigCredentials(file).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(Error);
  expect((error as Error).message).toContain(message);
  expect((error as Error).name).toBe("CredentialsError");
});

test("a kubeconfig that is not there is an error that names it", async () => {
  const error = await kubeconfigCredentials("/nonexistent/config").catch((error: unknown) => error);
  expect((error as Error).message).toBe(
    'Cannot read kubeconfig "/nonexistent/config": no such file: correct --kubeconfig, or what may read the file',
  );
});

const SPEC = {
  command: "./plugin",
  apiVersion: "client.authentication.k8s.io/v1",
  provideClusterInfo: true,
};
const CLUSTER = { server: "https://10.0.0.1", ca: PEM, insecure: false };

function plugin(script: string): { readonly folder: string } {
  const folder = temporaryFolder(undo);
  writeFileSync(join(folder, "plugin"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, "plugin"), 0o700);
  return { folder };
}

test("an exec plugin is told of the cluster, and gets its environment and arguments", async () => {
  const { folder } = plugin(
    `printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s %s %s"}}' ` +
      `"$1" "$MINE" "$(printf %s "$KUBERNETES_EXEC_INFO" | tr -d '"')"`,
  );
  const spec = parseExec(
    { ...SPEC, args: ["first"], env: [{ name: "MINE", value: "second" }] },
    "test",
    folder,
  );
  expect((await runExec(spec, CLUSTER)).token).toStartWith(
    "first second {apiVersion:client.authentication.k8s.io/v1,kind:ExecCredential,",
  );
});

test.each([
  ["fails", "echo no luck >&2; exit 3", "exit status 3: no luck"],
  ["prints no JSON", "echo secret", "it printed something that is not JSON"],
  ["prints another kind", "echo '{}'", 'not of kind "ExecCredential"'],
  [
    "answers in another version",
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}'`,
    'the kubeconfig asks for "client.authentication.k8s.io/v1"',
  ],
  [
    "gives nothing",
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}'`,
    "neither a token nor a client certificate",
  ],
  ["hangs", "exec sleep 60", "no answer in 0.2 s"],
])("an exec plugin that %s is an error in its own words", async (_, script, message) => {
  const { folder } = plugin(script);
  const error = await runExec(parseExec(SPEC, "test", folder), CLUSTER, 200)
    .catch((error: unknown) => error);
  expect((error as Error).message).toContain(message);
  expect((error as Error).message).not.toContain("secret");
});

test.each([
  ["10.0.0.1:8080", "http://10.0.0.1:8080"],
  ["https://[fd00::1]:6443/", "https://[fd00::1]:6443"],
  ["https://host/prefix/", "https://host/prefix"],
])("the address %s is read as %s", (given, server) => {
  expect(parseServer(given, "--master")).toBe(server);
});
