/**
 * Credentials by a command: the kubeconfig's `exec`, client.authentication.k8s.io/v1 and v1beta1.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */

import { resolve } from "node:path";
import { CredentialsError, reasonOf } from "./credentials.ts";
import { type Fields, fieldsOf, flag, isRecord, object, records, text, texts } from "./fields.ts";

export interface ExecSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly apiVersion: string;
  readonly provideClusterInfo: boolean;
  readonly installHint?: string;
}

/** What the plugin may be told of the cluster. */
export interface ExecCluster {
  readonly server: string;
  readonly ca?: string;
  readonly serverName?: string;
  readonly insecure: boolean;
}

export interface ExecCredential {
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Milliseconds since the epoch; absent: until the server refuses it. */
  readonly expires?: number;
}

/** A plugin that hangs must not stop the agent for ever. */
const TIMEOUT_MS = 30_000;
const API_VERSIONS = [
  "client.authentication.k8s.io/v1",
  "client.authentication.k8s.io/v1beta1",
];

/** @param directory of the kubeconfig, to which a command with a slash is relative */
export function parseExec(raw: unknown, where: string, directory: string): ExecSpec {
  const fields = fieldsOf(raw, (path, reason) => {
    throw new CredentialsError(`Cannot use the exec plugin of ${where}: "${path}" ${reason}`);
  });
  const command = text(fields, "command");
  if (command === undefined || command === "") {
    throw new CredentialsError(`Cannot use the exec plugin of ${where}: "command" is missing`);
  }
  const apiVersion = text(fields, "apiVersion") ?? "";
  if (!API_VERSIONS.includes(apiVersion)) {
    throw new CredentialsError(
      `Cannot use the exec plugin "${command}" of ${where}: apiVersion "${apiVersion}" must be ` +
        API_VERSIONS.map((version) => `"${version}"`).join(" or "),
    );
  }
  const installHint = text(fields, "installHint");
  return {
    command: command.includes("/") ? resolve(directory, command) : command,
    args: texts(fields, "args"),
    env: records(fields, "env", (entry) => ({
      name: text(entry, "name") ?? "",
      value: text(entry, "value") ?? "",
    })).filter(({ name }) => name !== ""),
    apiVersion,
    provideClusterInfo: flag(fields, "provideClusterInfo") ?? false,
    ...(installHint === undefined ? {} : { installHint }),
  };
}

/** @throws {CredentialsError} with the plugin's own words where it failed */
export async function runExec(
  spec: ExecSpec,
  cluster: ExecCluster,
  timeoutMs = TIMEOUT_MS,
): Promise<ExecCredential> {
  const plugin = `exec plugin "${spec.command}"`;
  const fail = (reason: string, cause?: unknown) =>
    new CredentialsError(`Cannot get credentials from the ${plugin}: ${reason}`, { cause });
  let child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  try {
    child = Bun.spawn([spec.command, ...spec.args], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      env: {
        ...process.env,
        ...Object.fromEntries(spec.env.map(({ name, value }) => [name, value])),
        KUBERNETES_EXEC_INFO: JSON.stringify({
          apiVersion: spec.apiVersion,
          kind: "ExecCredential",
          spec: {
            interactive: false,
            ...(spec.provideClusterInfo ? { cluster: clusterInfo(cluster) } : {}),
          },
        }),
      },
    });
  } catch (error) {
    const hint = spec.installHint === undefined ? "" : `: ${spec.installHint.trim()}`;
    throw fail(`${reasonOf(error)}${hint}`, error);
  }
  const [output, complaint, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (child.signalCode === "SIGKILL") throw fail(`no answer in ${timeoutMs / 1000} s`);
  if (status !== 0) {
    const words = complaint.trim().split("\n").slice(-3).join("; ");
    throw fail(`exit status ${status}${words === "" ? "" : `: ${words}`}`);
  }
  return parseCredential(output, spec, fail);
}

function clusterInfo({ server, ca, serverName, insecure }: ExecCluster): object {
  return {
    server,
    ...(ca === undefined ? {} : { "certificate-authority-data": btoa(ca) }),
    ...(serverName === undefined ? {} : { "tls-server-name": serverName }),
    ...(insecure ? { "insecure-skip-tls-verify": true } : {}),
  };
}

function parseCredential(
  output: string,
  spec: ExecSpec,
  fail: (reason: string) => CredentialsError,
): ExecCredential {
  let parsed: unknown;
  try {
    parsed = JSON.parse(output);
  } catch {
    // Its output holds the secret: it is not shown.
    throw fail("it printed something that is not JSON");
  }
  if (!isRecord(parsed) || parsed["kind"] !== "ExecCredential") {
    throw fail('it printed JSON that is not of kind "ExecCredential"');
  }
  if (parsed["apiVersion"] !== spec.apiVersion) {
    throw fail(
      `it answered in apiVersion "${
        parsed["apiVersion"]
      }", the kubeconfig asks for "${spec.apiVersion}"`,
    );
  }
  const wrong: Fields["problem"] = (path) => {
    throw fail(`"${path}" in its answer has the wrong type`);
  };
  const status = object(fieldsOf(parsed, wrong), "status");
  const token = text(status, "token") || undefined;
  const cert = text(status, "clientCertificateData") || undefined;
  const key = text(status, "clientKeyData") || undefined;
  if (token === undefined && cert === undefined) {
    throw fail("its answer has neither a token nor a client certificate");
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw fail("its answer has only one of client certificate and key");
  }
  const expiry = text(status, "expirationTimestamp");
  const expires = expiry === undefined ? undefined : Date.parse(expiry);
  if (expires !== undefined && Number.isNaN(expires)) {
    throw fail(`its answer expires at "${expiry}", which is no time`);
  }
  return {
    ...(token === undefined ? {} : { token }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(expires === undefined ? {} : { expires }),
  };
}
