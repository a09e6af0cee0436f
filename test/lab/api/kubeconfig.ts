/** Kubeconfigs and credentials as files, for tests of how a client reads them. */

import { chmodSync, renameSync, writeFileSync } from "node:fs";
import type { Certificate, KubeconfigUser } from "./types.ts";

export interface KubeconfigParts {
  readonly server: string;
  /** Undefined: plain HTTP, or not verified. */
  readonly caPem: string | undefined;
  readonly insecure: boolean;
  readonly user: Exclude<KubeconfigUser, "token" | "certificate">;
}

/** JSON strings are YAML's double-quoted scalars, so that any value is written safely. */
export function kubeconfigYaml({ server, caPem, insecure, user }: KubeconfigParts): string {
  const cluster = [
    `server: ${JSON.stringify(server)}`,
    ...(caPem === undefined ? [] : [`certificate-authority-data: ${base64(caPem)}`]),
    ...(insecure ? ["insecure-skip-tls-verify: true"] : []),
  ];
  const indent = (lines: readonly string[]) => lines.map((line) => `      ${line}\n`).join("");
  const credentials = userLines(user);
  return `apiVersion: v1
kind: Config
current-context: lab
clusters:
  - name: lab
    cluster:
${indent(cluster)}contexts:
  - name: lab
    context:
      cluster: lab
      user: lab
users:
  - name: lab
    user:${credentials.length === 0 ? " {}\n" : `\n${indent(credentials)}`}`;
}

function userLines(user: KubeconfigParts["user"]): readonly string[] {
  if (user === "none") return [];
  if ("token" in user) return [`token: ${JSON.stringify(user.token)}`];
  if ("tokenFile" in user) return [`tokenFile: ${JSON.stringify(user.tokenFile)}`];
  if ("certificate" in user) {
    return [
      `client-certificate-data: ${base64(user.certificate.cert)}`,
      `client-key-data: ${base64(user.certificate.key)}`,
    ];
  }
  return [
    "exec:",
    "  apiVersion: client.authentication.k8s.io/v1",
    `  command: ${JSON.stringify(user.exec)}`,
    `  args: ${JSON.stringify(user.args ?? [])}`,
    "  interactiveMode: Never",
  ];
}

/** Replaces the file in one step, as kubelet rotates a token: no reader sees half of one. */
export function writeTokenFile(path: string, token: string): void {
  writeFileSync(`${path}.new`, token, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export interface ExecCredential {
  readonly token?: string;
  readonly certificate?: Certificate;
  /** RFC 3339. Absent: as long as the client runs. */
  readonly expires?: string;
}

/**
 * Writes an exec plugin, a shell script that prints the credential and appends a line to
 * `<path>.calls` for each call; written again, it prints the new one.
 */
export function writeExecPlugin(
  path: string,
  { token, certificate, expires }: ExecCredential,
): void {
  const credential = {
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: {
      token,
      clientCertificateData: certificate?.cert,
      clientKeyData: certificate?.key,
      expirationTimestamp: expires,
    },
  };
  const script = `#!/bin/sh
echo called >> "$0.calls"
cat <<'END'
${JSON.stringify(credential)}
END
`;
  writeFileSync(`${path}.new`, script);
  chmodSync(`${path}.new`, 0o700);
  renameSync(`${path}.new`, path);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
