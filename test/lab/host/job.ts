/** What one run of the lab is asked to do, and the folder by which the guest is told. */

import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Boot } from "../guest/boot.ts";
import { readObjects } from "../guest/objects.ts";
import { readTopology, type Topology } from "../topology/topology.ts";
import type { Choice } from "./place.ts";

export interface Request {
  readonly topologyFile: string;
  readonly topologyValue: unknown;
  readonly topology: Topology;
  readonly objects: readonly object[];
  readonly script: string;
  readonly out: string;
  readonly timeoutSeconds: number;
  readonly readySeconds: number;
  readonly routelet: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const LAB = realpathSync(join(import.meta.dir, ".."));
const REPOSITORY = realpathSync(join(LAB, "../.."));

/** Modules of Debian's user-mode Linux, loaded in one go: by itself each would cost 50–100 ms. */
const MODULES = [
  ..."ipv6 bridge br_netfilter veth dummy ipip tunnel4 ip6_tunnel sit".split(" "),
  ..."ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_dh ip_vs_mh ip_vs_sed ip_vs_nq"
    .split(" "),
  ..."nf_conntrack_netlink nfnetlink_log ip_set ip_set_hash_ip ip_set_hash_net".split(" "),
  ..."ip_set_hash_ipport ip_set_hash_netport ip_set_list_set ip_set_hash_ipportnet".split(" "),
  ..."ip_tables iptable_filter iptable_nat iptable_mangle ip6_tables ip6table_filter".split(" "),
  ..."ip6table_nat ip6table_mangle xt_set xt_comment xt_conntrack xt_mark xt_ipvs".split(" "),
  ..."xt_MASQUERADE xt_addrtype xt_multiport xt_tcpudp sctp".split(" "),
];

/** Reads and checks all that is asked for. Throws with the reason. */
export function readRequest(environment: Environment, warn: (text: string) => void): Request {
  const file = (name: string): string => {
    const value = environment[name];
    if (value === undefined || value === "") {
      throw new Error(`${name} is missing: make lab TOPOLOGY=file.yaml SCRIPT=file OUT=dir`);
    }
    const path = resolve(value);
    if (!existsSync(path)) throw new Error(`${name}: "${path}" is not there`);
    return realpathSync(path);
  };
  const topologyFile = file("TOPOLOGY");
  const script = file("SCRIPT");
  try {
    accessSync(script, constants.X_OK);
  } catch {
    throw new Error(`SCRIPT: "${script}" is not executable`);
  }
  let topologyValue: unknown;
  let topology: Topology;
  try {
    topologyValue = Bun.YAML.parse(readFileSync(topologyFile, "utf8"));
    topology = readTopology(topologyValue, (text) => warn(`${topologyFile}: ${text}`));
  } catch (error) {
    throw new Error(`TOPOLOGY: ${topologyFile}: ${(error as Error).message}`);
  }
  const folder = dirname(topologyFile);
  const routelet = resolve(
    environment.ROUTELET ?? join(REPOSITORY, `dist/routelet-linux-${process.arch}`),
  );
  if (topology.nodes.some(({ agent }) => agent) && !existsSync(routelet)) {
    throw new Error(`ROUTELET: "${routelet}" is not there; "make build" makes it`);
  }
  const out = resolve(environment.OUT ?? "");
  return {
    topologyFile,
    topologyValue,
    topology,
    objects: topology.manifests.flatMap((path) => readManifests(resolve(folder, path))),
    script,
    out,
    timeoutSeconds: seconds("TIMEOUT", environment.TIMEOUT, 300),
    readySeconds: seconds("LAB_READY", environment.LAB_READY, 30),
    routelet: existsSync(routelet) ? realpathSync(routelet) : routelet,
  };
}

/** Bundles the machine room and writes `boot.json`; returns the job's folder. */
export async function prepareJob(request: Request, { place }: Choice): Promise<Boot> {
  const job = realpathSync(mkdtempSync(join(tmpdir(), "routelet-lab-")));
  const room = `${job}/room.js`;
  const built = await Bun.build({
    entrypoints: [join(LAB, "guest/main.ts")],
    target: "bun",
    minify: { syntax: true, whitespace: true },
  });
  const [bundle] = built.outputs;
  if (!built.success || bundle === undefined) throw new Error(`bundle: ${built.logs.join("; ")}`);
  writeFileSync(room, await bundle.text());
  mkdirSync(`${request.out}/agents`, { recursive: true });
  const out = realpathSync(request.out);
  const cwd = process.cwd();
  const folders = [LAB, dirname(request.script), dirname(request.topologyFile)];
  const boot: Boot = {
    place,
    job,
    out,
    shared: [job, out],
    visible: [...new Set([...folders, dirname(request.routelet), cwd].filter(isHidden))],
    bun: realpathSync(process.execPath),
    room,
    lab: join(LAB, "guest/lab"),
    routelet: request.routelet,
    script: request.script,
    cwd,
    folder: dirname(request.topologyFile),
    topology: request.topologyValue,
    objects: request.objects,
    modules: place === "kernel" ? [] : MODULES,
    readySeconds: request.readySeconds,
    env: guestEnvironment(process.env),
  };
  writeFileSync(`${job}/boot.json`, JSON.stringify(boot));
  writeFileSync(`${job}/stdout`, "");
  writeFileSync(`${job}/stderr`, "");
  return boot;
}

const LOGS = ["room.log", "init.log", "console.log"];

/** What an earlier lab left in OUT must not be taken for this one's. */
export function clearLogs(out: string): void {
  for (const name of [...LOGS, "status", "agents", "routers"]) {
    rmSync(`${out}/${name}`, { recursive: true, force: true });
  }
}

export function keepLogs(boot: Boot): void {
  for (const name of LOGS) {
    if (existsSync(`${boot.job}/${name}`)) {
      copyFileSync(`${boot.job}/${name}`, `${boot.out}/${name}`);
    }
  }
}

export const INIT = join(LAB, "guest/init.py");
export const WHERE = join(LAB, "kernel/where");

/** The caller's environment without what is about the host's session. */
function guestEnvironment(environment: Environment): Readonly<Record<string, string>> {
  const kept = Object.entries(environment).filter(([name]) =>
    !/^(MAKE.*|MFLAGS|XDG_.*|TMPDIR|DBUS_.*|SSH_.*|PWD|OLDPWD|JOB|PLACE|LAB_SLOT|OUT|TOPOLOGY|SCRIPT)$/
      .test(name)
  ).flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const]);
  return {
    ...Object.fromEntries(kept),
    PATH: `${environment.PATH ?? ""}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: "/root",
  };
}

function isHidden(path: string): boolean {
  return ["/run", "/dev", "/mnt"].some((hidden) => `${path}/`.startsWith(`${hidden}/`));
}

function readManifests(path: string): readonly object[] {
  if (!existsSync(path)) throw new Error(`manifests: "${path}" is not there`);
  if (!statSync(path).isDirectory()) return readObjects(readFileSync(path, "utf8"), path);
  return readdirSync(path).filter((name) => /\.(ya?ml|json)$/.test(name)).sort().flatMap((name) =>
    readObjects(readFileSync(join(path, name), "utf8"), join(path, name))
  );
}

function seconds(name: string, text: string | undefined, usual: number): number {
  if (text === undefined || text === "") return usual;
  const value = Number(text.replace(/s$/, ""));
  if (!(value > 0)) throw new Error(`${name}: "${text}" is not a number of seconds`);
  return value;
}
