import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import {
  createApi,
  type KubeconfigOptions,
  writeExecPlugin,
  writeTokenFile,
} from "../../../lab/api/mod.ts";

/** Read by the library that users of kubeconfigs have. */
function read(options: KubeconfigOptions = {}, tls = true) {
  const api = createApi({ tls });
  const config = new KubeConfig();
  config.loadFromString(api.kubeconfig(options));
  const { caPem, token, url } = api;
  api.close();
  return {
    config,
    caPem,
    token,
    url,
    cluster: config.getCurrentCluster(),
    user: config.getCurrentUser(),
  };
}

function text(base64: string | undefined): string {
  return Buffer.from(base64 ?? "", "base64").toString();
}

function inFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "routelet-"));
  try {
    run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a kubeconfig names the server, its CA and the token", () => {
  const { cluster, user, caPem, token, url } = read();
  expect(cluster?.server).toBe(url);
  expect(text(cluster?.caData)).toBe(caPem);
  expect(user?.token).toBe(token);
});

test("a kubeconfig of a client certificate holds it and its key", () => {
  const { user } = read({ user: "certificate" });
  expect(text(user?.certData)).toStartWith("-----BEGIN CERTIFICATE-----");
  expect(text(user?.keyData)).toStartWith("-----BEGIN PRIVATE KEY-----");
  expect(user?.token).toBeUndefined();
});

test("a kubeconfig of a server without TLS has no CA, and may have no credentials", () => {
  const { cluster, user } = read({ user: "none" }, false);
  expect(cluster?.caData).toBeUndefined();
  expect(user?.token).toBeUndefined();
});

test("a kubeconfig may name another server, another CA or none", () => {
  const { cluster } = read({ server: "https://kubernetes:6443", ca: "other" });
  expect(cluster?.server).toBe("https://kubernetes:6443");
  expect(text(cluster?.caData)).toBe("other");
  expect(read({ insecure: true }).cluster).toMatchObject({ skipTLSVerify: true });
});

test("a token file is replaced in one step", () =>
  inFolder((folder) => {
    const tokenFile = join(folder, "token");
    writeTokenFile(tokenFile, "one");
    writeTokenFile(tokenFile, "two");
    expect(readFileSync(tokenFile, "utf8")).toBe("two");
    // client-node passes over tokenFile: read as YAML.
    const api = createApi({ listen: false });
    expect(Bun.YAML.parse(api.kubeconfig({ user: { tokenFile } })))
      .toMatchObject({ users: [{ user: { tokenFile } }] });
  }));

test("an exec plugin prints its credential and counts its calls", () =>
  inFolder((folder) => {
    const path = join(folder, "plugin");
    const expires = "2030-01-01T00:00:00Z";
    writeExecPlugin(path, { token: "one" });
    writeExecPlugin(path, { token: "it's two", expires });
    const { user } = read({ user: { exec: path, args: ["a"] } });
    expect(user?.exec).toMatchObject({ command: path, args: ["a"] });
    for (let call = 0; call < 2; call++) {
      const { stdout } = Bun.spawnSync([path, "a"]);
      expect(JSON.parse(stdout.toString())).toMatchObject({
        kind: "ExecCredential",
        status: { token: "it's two", expirationTimestamp: expires },
      });
    }
    expect(readFileSync(`${path}.calls`, "utf8")).toBe("called\ncalled\n");
  }));
