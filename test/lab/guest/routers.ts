/** Real routing daemons outside the cluster. */

import { closeSync, copyFileSync, mkdirSync, openSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { RouterSpec, Topology } from "../topology/topology.ts";
import type { Boot } from "./boot.ts";

export async function startRouters(boot: Boot, topology: Topology): Promise<void> {
  for (const router of topology.routers) {
    if (router.daemon !== undefined) await startRouter(boot, router);
  }
}

async function startRouter(boot: Boot, router: RouterSpec): Promise<void> {
  const folder = `/run/lab/routers/${router.name}`;
  mkdirSync(folder, { recursive: true });
  const config = `${folder}/${basename(router.config ?? "")}`;
  copyFileSync(resolve(boot.folder, router.config ?? ""), config);
  mkdirSync(`${boot.out}/routers`, { recursive: true });
  const log = openSync(`${boot.out}/routers/${router.name}.log`, "a");
  const child = Bun.spawn([boot.lab, "exec", `router-${router.name}`, ...command(router, config)], {
    cwd: "/",
    env: { ...boot.env },
    stdin: null,
    stdout: log,
    stderr: log,
  });
  closeSync(log);
  // Those that stay in the foreground are up unless they end at once; FRR's script ends when it is.
  const ended = await Promise.race([
    child.exited,
    Bun.sleep(router.daemon === "frr" ? 15_000 : 300),
  ]);
  if (typeof ended === "number" && (ended !== 0 || router.daemon !== "frr")) {
    throw new Error(
      `router "${router.name}": ${router.daemon} ended with status ${ended}, see routers/${router.name}.log`,
    );
  }
}

function command({ daemon }: RouterSpec, config: string): readonly string[] {
  switch (daemon) {
    case "bird":
      // The socket is where birdc looks for it; each router has its own /run/bird.
      return ["bird", "-f", "-c", config, "-s", "/run/bird/bird.ctl"];
    case "gobgp":
      return [
        "gobgpd",
        "-f",
        config,
        "-t",
        configType(config),
        "--api-hosts=127.0.0.1:50051",
        "--pprof-disable",
      ];
    default:
      return ["sh", "-c", FRR, "frr", config];
  }
}

function configType(path: string): string {
  return /\.(json|ya?ml)$/.exec(path)?.[1]?.replace("yml", "yaml") ?? "toml";
}

/** /etc/frr is the router's own: it begins empty. */
const FRR = `set -e
cp "$1" /etc/frr/frr.conf
: >/etc/frr/vtysh.conf
printf 'bgpd=yes\\nbfdd=yes\\nvtysh_enable=yes\\nzebra_options="-A 127.0.0.1 -s 90000000"\\nbgpd_options="-A 127.0.0.1"\\nbfdd_options="-A 127.0.0.1"\\n' >/etc/frr/daemons
chown -R frr:frr /etc/frr /run/frr
exec /usr/lib/frr/frrinit.sh start`;
