/** The three places where a lab can run, and which of them has what a topology needs. */

import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import type { Place } from "../guest/boot.ts";
import type { Need, Topology } from "../topology/topology.ts";

export interface Machine {
  readonly root: boolean;
  /** Things of `Need` that the host's Linux has. */
  readonly host: ReadonlySet<Need>;
  /** linux.uml of Debian; undefined: not installed. */
  readonly uml: string | undefined;
  /** The kernel of `make lab-kernel`; undefined: not built. */
  readonly kernel: string | undefined;
}

export interface Choice {
  readonly place: Place;
  /** Executable of user-mode Linux, empty on the host. */
  readonly linux: string;
}

const UML_HAS: ReadonlySet<Need> = new Set(["ipvs", "dummy", "ipip", "ipset", "iptables-legacy"]);
const DEFAULT_NEEDS: readonly Need[] = ["ipvs", "dummy", "ipip"];

/**
 * The host where it has all that is needed, since it needs no boot; then our own kernel, which has
 * everything and boots fastest; then Debian's. Throws with the remedy where no place will do.
 */
export function choosePlace(
  topology: Topology,
  machine: Machine,
  override: string | undefined,
): Choice {
  const needs = topology.needs ?? DEFAULT_NEEDS;
  if (override !== undefined && override !== "") return forced(override, machine);
  const hostWillDo = machine.root && needs.every((need) => machine.host.has(need));
  if (hostWillDo) return { place: "host", linux: "" };
  if (machine.kernel !== undefined) return { place: "kernel", linux: machine.kernel };
  const lacking = needs.filter((need) => !UML_HAS.has(need));
  if (lacking.length > 0) {
    throw new Error(
      `No place has ${needs.join(", ")}: build the lab's own kernel with "make lab-kernel"`,
    );
  }
  if (machine.uml === undefined) throw new Error(UML_MISSING);
  return { place: "uml", linux: machine.uml };
}

const UML_MISSING = 'linux.uml is not installed: run "test/lab/setup" as root';

function forced(place: string, machine: Machine): Choice {
  switch (place) {
    case "host":
      if (!machine.root) throw new Error("LAB_PLACE=host needs root");
      return { place, linux: "" };
    case "uml":
      if (machine.uml === undefined) throw new Error(UML_MISSING);
      return { place, linux: machine.uml };
    case "kernel":
      if (machine.kernel === undefined) {
        throw new Error('LAB_PLACE=kernel: it is not built, run "make lab-kernel"');
      }
      return { place, linux: machine.kernel };
    default:
      throw new Error(`LAB_PLACE: "${place}" is none of host, uml, kernel`);
  }
}

export function describe({ place, linux }: Choice, cpu: number): string {
  switch (place) {
    case "host":
      return "lab: namespaces of the host";
    case "uml":
      return `lab: user-mode Linux of Debian (${linux}) on CPU ${cpu}`;
    default:
      return `lab: user-mode Linux of make lab-kernel (${linux}) on CPU ${cpu}`;
  }
}

/** Looks at this machine. `where` is the folder of the kernel that belongs to the present fragment. */
export function inspect(where: string): Machine {
  const root = process.getuid?.() === 0;
  return {
    root,
    host: root ? hostHas() : new Set(),
    uml: Bun.which("linux.uml") ?? undefined,
    kernel: executable(`${where}/linux`) ? `${where}/linux` : undefined,
  };
}

/** What each need is called: as a module, and where it is built into Linux in its configuration. */
const MODULES: Readonly<Record<Need, readonly [module: string, option: string]>> = {
  ipvs: ["ip_vs", "IP_VS"],
  dummy: ["dummy", "DUMMY"],
  ipip: ["ipip", "NET_IPIP"],
  nftables: ["nf_tables", "NF_TABLES"],
  ipset: ["ip_set", "IP_SET"],
  "iptables-legacy": ["ip_tables", "IP_NF_IPTABLES"],
};

function hostHas(): ReadonlySet<Need> {
  const builtIn = read(`/lib/modules/${read("/proc/sys/kernel/osrelease").trim()}/modules.builtin`);
  const configured = configuration();
  const has = ([module, option]: readonly [string, string]) =>
    existsSync(`/sys/module/${module}`) || builtIn.includes(`/${module}.ko`) ||
    configured.includes(`\nCONFIG_${option}=y\n`) ||
    Bun.spawnSync(["modprobe", "-qn", module], { stderr: "ignore" }).exitCode === 0;
  return new Set((Object.keys(MODULES) as Need[]).filter((need) => has(MODULES[need])));
}

/** How Linux was built, where it says so itself. */
function configuration(): string {
  try {
    return new TextDecoder().decode(Bun.gunzipSync(readFileSync("/proc/config.gz")));
  } catch {
    return "";
  }
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
