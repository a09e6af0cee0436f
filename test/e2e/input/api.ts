/**
 * An API server with bad credentials on offer, for the scripts of this folder: `bun api.ts FOLDER` writes kubeconfigs into
 * FOLDER, then does what standard input says, one command a line, and answers each with a line.
 *
 *     renew        the listener with the expired certificate gets a good one
 *     trust        the CA file of `unknown-ca` becomes the right one
 *     certificate  the certificate of `expired-client` becomes a good one
 *     token        the token file of `refused-token` gets one that is accepted
 *     deny, allow  403 for whoever asks, and no longer
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startApi, startEndpointController, writeTokenFile } from "../../lab/api/mod.ts";

const folder = process.argv[2] ?? ".";
const at = (name: string): string => join(folder, name);
/** The lab's router, as nodes see the namespace of the script. */
const HOST = "192.168.50.254";
const PORT = 7443;
const EXPIRED_PORT = 7444;

/** As `credentials.yaml` has them. */
const NODES = ["expired-client", "expired-server", "unknown-ca", "refused-token", "forbidden"];

const listen = { host: "0.0.0.0", anonymous: false } as const;
const api = await startApi({ ...listen, port: PORT, tls: { names: [HOST] } });
startEndpointController(api);
const expired = api.listen({
  ...listen,
  port: EXPIRED_PORT,
  tls: { names: [HOST], expired: true },
});
const stranger = await startApi({ listen: false });

api.applyAll([
  ...NODES.map((name, i) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    status: { addresses: [{ type: "InternalIP", address: `192.168.50.${11 + i}` }] },
  })),
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "default" },
    spec: {
      clusterIP: "10.96.1.1",
      selector: { app: "web" },
      ports: [{ port: 80, targetPort: 8080 }],
    },
  },
]);

const server = `https://${HOST}:${PORT}`;
const revoked = api.issueToken("late");
api.revokeToken(revoked);

writeFileSync(at("ca.crt"), stranger.caPem);
writeTokenFile(at("token"), revoked);
certificate(true);
kubeconfig("expired-server", api.kubeconfig({ server: `https://${HOST}:${EXPIRED_PORT}` }));
kubeconfig("refused-token", api.kubeconfig({ server, user: { tokenFile: at("token") } }));
kubeconfig("forbidden", api.kubeconfig({ server, user: { token: api.issueToken("weak", []) } }));
kubeconfig(
  "unknown-ca",
  api.kubeconfig({ server }).replace(
    /certificate-authority-data: .*/,
    `certificate-authority: ${at("ca.crt")}`,
  ),
);
kubeconfig(
  "expired-client",
  api.kubeconfig({ server, user: "none" }).replace(
    "user: {}",
    `user: { client-certificate: ${at("client.crt")}, client-key: ${at("client.key")} }`,
  ),
);

const COMMANDS: Readonly<Record<string, () => void>> = {
  renew: () => {
    expired.stop();
    api.listen({ ...listen, port: EXPIRED_PORT, tls: { names: [HOST] } });
  },
  trust: () => writeFileSync(at("ca.crt"), api.caPem),
  certificate: () => certificate(false),
  token: () => writeTokenFile(at("token"), api.issueToken("late")),
  deny: () => api.authorize(({ user }) => user !== "weak"),
  allow: () => api.authorize(),
};

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  COMMANDS[line]?.();
  console.log(line in COMMANDS ? "done" : `no command "${line}"`);
}
process.exit(0);

function kubeconfig(name: string, text: string): void {
  writeFileSync(at(name), text, { mode: 0o600 });
}

function certificate(expired: boolean): void {
  const { cert, key } = api.clientCertificate("lab-admin", { groups: ["system:masters"], expired });
  writeTokenFile(at("client.key"), key);
  writeTokenFile(at("client.crt"), cert);
}
