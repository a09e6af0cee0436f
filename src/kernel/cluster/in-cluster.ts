/** Credentials of the pod's service account, and of `--master` alone. */

import { existsSync } from "node:fs";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import {
  type Credentials,
  CredentialsError,
  type Identity,
  readCredential,
  refreshed,
  REREAD_MS,
} from "./credentials.ts";

export const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface InClusterOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where the service account is mounted. */
  readonly directory?: string;
}

/** The service account of the pod that we run in. */
export async function inClusterCredentials(options: InClusterOptions = {}): Promise<Credentials> {
  const { env = process.env, directory = SERVICE_ACCOUNT } = options;
  const host = env["KUBERNETES_SERVICE_HOST"];
  const port = env["KUBERNETES_SERVICE_PORT"];
  if (!host || !port) {
    throw new CredentialsError(
      "Cannot find the API server: neither --kubeconfig nor --master is set, and " +
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not in the environment, so this is " +
        "no pod: set --kubeconfig, or --manifests for a folder of YAML",
    );
  }
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const credentials = serviceAccount(server, directory);
  // At start a missing file is an error to be told at once; later it is waited for.
  await credentials.identity();
  return credentials;
}

/**
 * `--master` alone. Plain HTTP has no credentials; HTTPS takes those of the service account where they
 * are mounted, else the host's CAs.
 */
export function masterCredentials(
  master: string,
  { directory = SERVICE_ACCOUNT }: InClusterOptions = {},
): Credentials {
  const server = parseServer(master, "--master");
  if (server.startsWith("https:") && existsSync(join(directory, "token"))) {
    return serviceAccount(server, directory);
  }
  const identity: Identity = server.startsWith("https:")
    ? { tls: {}, headers: {} }
    : { headers: {} };
  return {
    server,
    from: `--master "${server}"`,
    identity: () => Promise.resolve(identity),
    refused: () => {},
  };
}

/**
 * The URL without a slash at its end; a bare host and port is taken as HTTP, as kube-router takes it.
 *
 * @throws {CredentialsError} naming what it was given by
 */
export function parseServer(text: string, given: string): string {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.hostname === "") {
    const shown = text.replace(/\/\/[^/@\s]*@/g, "//***@");
    throw new CredentialsError(
      `Cannot use the API server's address "${shown}" of ${given}: ` +
        "it must be a URL such as https://10.0.0.1:6443",
    );
  }
  return `${url.protocol}//${url.host}${url.pathname}`.replace(/\/+$/, "");
}

function serviceAccount(server: string, directory: string): Credentials {
  const remedy = "check that the pod's service account is mounted (automountServiceAccountToken)";
  const read = (name: string, what: string) => readCredential(join(directory, name), what, remedy);
  const identity = refreshed(async (): Promise<{ value: Identity; until: number }> => {
    const [ca, token] = await Promise.all([
      read("ca.crt", "the service account's CA"),
      read("token", "the service account's token"),
    ]);
    return {
      value: { tls: { ca }, headers: { authorization: `Bearer ${token.trim()}` } },
      until: Date.now() + REREAD_MS,
    };
  });
  return {
    server,
    from: `service account in "${directory}"`,
    identity: identity.get,
    refused: identity.expire,
  };
}
