/** Credentials from a kubeconfig. */

import { dirname, resolve } from "node:path";
import {
  type Credentials,
  CredentialsError,
  type Identity,
  readCredential,
  reasonOf,
  refreshed,
  REREAD_MS,
  type TlsOptions,
} from "./credentials.ts";
import { type ExecSpec, parseExec, runExec } from "./exec-credential.ts";
import { isRecord, type Raw } from "./fields.ts";
import { parseServer } from "./in-cluster.ts";
import { parseYaml, YamlError } from "./yaml.ts";

// From the package's own file for these shapes: the package as a whole costs 120 ms and 30 MB, and sends
// requests in a way that loses TLS options under Bun.
import type { Cluster, User } from "@kubernetes/client-node/dist/config_types.js";

/**
 * @param master overrides the cluster's server
 * @throws {CredentialsError} with the file, what is wrong in it and what to do
 */
export async function kubeconfigCredentials(file: string, master?: string): Promise<Credentials> {
  const where = `kubeconfig "${file}"`;
  const { cluster, user, raw } = await currentContext(file, where);
  const directory = dirname(resolve(file));
  const server = parseServer(
    master ?? cluster.server,
    master === undefined ? `cluster "${cluster.name}" in ${where}` : "--master",
  );
  const base = baseTls(cluster);
  const secure = server.startsWith("https:");
  const exec = execOf(user, where, directory);
  const tokenFile = textOf(raw, "tokenFile", "token-file");
  if (user?.authProvider !== undefined && user.authProvider !== null) {
    throw new CredentialsError(
      `Cannot use user "${user.name}" of ${where}: its auth-provider was removed from Kubernetes ` +
        "1.26: use its exec plugin instead",
    );
  }

  const identity = refreshed(async (): Promise<{ value: Identity; until: number }> => {
    const from = (path: string | undefined) =>
      path === undefined ? undefined : resolve(directory, path);
    const ca = await pem(cluster.caData, from(cluster.caFile), `the CA of ${where}`);
    const cert = await pem(
      user?.certData,
      from(user?.certFile),
      `the client certificate of ${where}`,
    );
    const key = await pem(user?.keyData, from(user?.keyFile), `the client key of ${where}`);
    requirePair(cert, key, where);
    const insecure = base.rejectUnauthorized === false;
    const made = exec === undefined ? undefined : await runExec(exec, {
      server,
      insecure,
      ...optional("ca", ca),
      ...optional("serverName", base.serverName),
    });
    const path = from(tokenFile);
    const token = made?.token ??
      (path === undefined
        ? user?.token
        : await readCredential(path, `the token file of ${where}`, REMEDY));
    const tls: TlsOptions = {
      ...base,
      ...(insecure ? {} : optional("ca", ca)),
      ...optional("cert", made?.cert ?? cert),
      ...optional("key", made?.key ?? key),
    };
    return {
      value: { ...(secure ? { tls } : {}), headers: headersOf(user, raw, token?.trim(), secure) },
      until: Math.min(
        made?.expires ?? Infinity,
        exec === undefined ? Date.now() + REREAD_MS : Infinity,
      ),
    };
  });
  // At start what is missing is told at once. Later it is waited for.
  await identity.get();
  return {
    server,
    ...optional("proxy", proxyOf(cluster, where)),
    from: where,
    identity: identity.get,
    refused: identity.expire,
  };
}

const REMEDY = "correct the path, or what may read it";

interface Context {
  readonly cluster: Cluster;
  readonly user: User | undefined;
  /** The user as the file has it: the parser knows not all keys. */
  readonly raw: Raw;
}

async function currentContext(file: string, where: string): Promise<Context> {
  const config = await readConfig(file, where);
  const { newClusters, newContexts, newUsers } = await import(
    "@kubernetes/client-node/dist/config_types.js"
  );
  const read = <T>(parse: () => T): T => {
    try {
      return parse();
    } catch (error) {
      throw new CredentialsError(`Cannot use ${where}: ${reasonOf(error)}`, { cause: error });
    }
  };
  const name = config["current-context"];
  const contexts = read(() => newContexts(config["contexts"]));
  if (typeof name !== "string" || name === "") {
    throw new CredentialsError(
      `Cannot use ${where}: it has no current-context: set one of ${names(contexts)} by ` +
        "kubectl config use-context",
    );
  }
  const context = contexts.find((one) => one.name === name);
  if (context === undefined) {
    throw new CredentialsError(
      `Cannot use ${where}: its current-context "${name}" is not one of its contexts ${
        names(contexts)
      }`,
    );
  }
  const clusters = read(() => newClusters(config["clusters"]));
  const cluster = clusters.find((one) => one.name === context.cluster);
  if (cluster === undefined) {
    throw new CredentialsError(
      `Cannot use ${where}: cluster "${context.cluster}" of context "${name}" is not one of its ` +
        `clusters ${names(clusters)}`,
    );
  }
  if (context.user === undefined) return { cluster, user: undefined, raw: {} };
  const raw = rawUser(config["users"], context.user);
  if (raw === undefined) {
    const users = Array.isArray(config["users"]) ? config["users"].filter(isNamed) : [];
    throw new CredentialsError(
      `Cannot use ${where}: user "${context.user}" of context "${name}" is not one of its users ` +
        names(users),
    );
  }
  // Its key for a token file is not the kubeconfig's, and it would read the file on its own.
  const { "token-file": _, ...known } = raw;
  const [user] = read(() => newUsers([{ name: context.user, user: known }]));
  return { cluster, user, raw };
}

async function readConfig(file: string, where: string): Promise<Raw> {
  let text: string;
  try {
    text = await Bun.file(file).text();
  } catch (error) {
    throw new CredentialsError(
      `Cannot read ${where}: ${reasonOf(error)}: correct --kubeconfig, or what may read the file`,
      { cause: error },
    );
  }
  try {
    const [document] = await parseYaml(text);
    if (document !== undefined && isRecord(document.value)) return document.value;
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    throw new CredentialsError(
      `Cannot parse ${where}: line ${error.line}: ${error.reason}: correct the file`,
      { cause: error },
    );
  }
  throw new CredentialsError(
    `Cannot use ${where}: it holds no object of kind Config: ` +
      (text.trim() === "" ? "the file is empty" : "is this the right file?"),
  );
}

function isNamed(value: unknown): value is { readonly name: string } {
  return isRecord(value) && typeof value["name"] === "string";
}

function rawUser(users: unknown, name: string): Raw | undefined {
  if (!Array.isArray(users)) return undefined;
  const entry: unknown = users.find((user) => isNamed(user) && user.name === name);
  if (!isRecord(entry)) return undefined;
  return isRecord(entry["user"]) ? entry["user"] : {};
}

function names(list: readonly { readonly name: string }[]): string {
  return list.length === 0 ? "(none)" : list.map(({ name }) => `"${name}"`).join(", ");
}

function baseTls(cluster: Cluster): TlsOptions {
  return {
    ...(cluster.tlsServerName === undefined ? {} : { serverName: cluster.tlsServerName }),
    ...(cluster.skipTLSVerify ? { rejectUnauthorized: false } : {}),
  };
}

function execOf(user: User | undefined, where: string, directory: string): ExecSpec | undefined {
  if (user?.exec === undefined || user.exec === null) return undefined;
  return parseExec(user.exec, `user "${user.name}" in ${where}`, directory);
}

function proxyOf(cluster: Cluster, where: string): string | undefined {
  const proxy = cluster.proxyUrl;
  if (proxy === undefined) return undefined;
  if (/^https?:\/\//.test(proxy)) return proxy;
  const shown = proxy.replace(/\/\/[^/@\s]*@/g, "//***@");
  throw new CredentialsError(
    `Cannot use cluster "${cluster.name}" of ${where}: proxy-url "${shown}" must begin with http:// or https://`,
  );
}

/** Text of PEM from base64 in the file, which wins as in kubectl, or from another file. */
async function pem(
  data: string | undefined,
  file: string | undefined,
  what: string,
): Promise<string | undefined> {
  if (data) {
    const compact = String(data).replace(/\s+/g, "");
    const text = /^[A-Za-z0-9+/]*={0,2}$/.test(compact) && compact.length % 4 === 0
      ? Buffer.from(compact, "base64").toString()
      : undefined;
    if (text === undefined) {
      throw new CredentialsError(
        `Cannot use ${what}: its data is not base64: copy it again, whole, in one line`,
      );
    }
    return requirePem(text, what);
  }
  if (!file) return undefined;
  return requirePem(await readCredential(file, what, REMEDY), `${what} "${file}"`);
}

function requirePem(text: string, what: string): string {
  if (text.includes("-----BEGIN ")) return text;
  throw new CredentialsError(`Cannot use ${what}: it is not PEM, which begins with -----BEGIN`);
}

function requirePair(cert: string | undefined, key: string | undefined, where: string): void {
  if ((cert === undefined) === (key === undefined)) return;
  const [has, lacks] = key === undefined ? ["certificate", "key"] : ["key", "certificate"];
  throw new CredentialsError(
    `Cannot use ${where}: its user has a client ${has} but no client ${lacks}: add client-${lacks}-data`,
  );
}

function headersOf(
  user: User | undefined,
  raw: Raw,
  token: string | undefined,
  secure: boolean,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  // As kubectl: what would be read on the way is not sent.
  if (secure) {
    if (token !== undefined && token !== "") headers["authorization"] = `Bearer ${token}`;
    else if (user?.username) {
      const pair = `${user.username}:${user.password ?? ""}`;
      headers["authorization"] = `Basic ${Buffer.from(pair).toString("base64")}`;
    }
  }
  const as = textOf(raw, "as");
  if (as !== undefined) headers["impersonate-user"] = as;
  return headers;
}

function textOf(raw: Raw, ...keys: readonly string[]): string | undefined {
  for (const key of keys) {
    const value = raw[key];
    if (typeof value === "string" && value !== "") return value;
  }
  return undefined;
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}
