/** The commands `install` and `uninstall`: routelet on a bare host, and gone again. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { readCni } from "../kernel/dataplane/linux/cni-text.ts";
import { errorText, hostedPlugins } from "./agent.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import {
  CNI_FILE,
  CNI_FOLDER,
  CNI_TEMPLATE,
  CNI_TEXT,
  DEFAULTS,
  defaultsText,
  EXECUTABLE,
  PLUGINS,
  UNIT,
  UNIT_TEXT,
} from "./install-files.ts";
import {
  install as writeFiles,
  planInstall,
  planUninstall,
  readRecord,
  RECORD,
  type Step,
  uninstall as removeFiles,
  type Wanted,
} from "./installation.ts";
import type { Io } from "./io.ts";

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** What these commands see of the machine besides files. */
export interface Machine {
  /** Our own executable. */
  readonly executable: string;
  /** Runs systemctl; undefined where systemd does not run this host. */
  readonly systemctl: ((...words: readonly string[]) => string | undefined) | undefined;
}

/** This machine. */
export function thisMachine(): Machine {
  return {
    executable: process.execPath,
    systemctl: existsSync("/run/systemd/system") ? systemctl : undefined,
  };
}

/** @returns what is wrong, if anything */
function systemctl(...words: readonly string[]): string | undefined {
  const { exitCode, stderr } = Bun.spawnSync(["systemctl", ...words], { stdout: "ignore" });
  return exitCode === 0 ? undefined : stderr.toString().trim();
}

/** The CNI configuration, unless one is there that is to be used. @throws {Error} where another's would be taken in its place */
function cniFile(
  root: string,
): { readonly wanted: readonly Wanted[]; readonly kept: readonly Step[] } {
  const name = CNI_FILE.slice(CNI_FOLDER.length + 1);
  const plain = name.replace(/list$/, "");
  const there = existsSync(join(root, CNI_FOLDER))
    ? readdirSync(join(root, CNI_FOLDER)).filter((file) => /\.(conf|conflist|json)$/.test(file))
    : [];
  const own = there.find((file) => file === name || file === plain);
  if (own !== undefined) {
    return {
      wanted: [],
      kept: [{ path: `${CNI_FOLDER}/${own}`, verb: "keep", reason: "it is there already" }],
    };
  }
  const first = there.toSorted()[0];
  if (first !== undefined && first < name) {
    throw new Error(
      `Cannot install the CNI configuration "${CNI_FILE}": "${first}" is in that folder, and kubelet takes the first by name; ` +
        "remove it if routelet is to be the network of pods, or set --enable-cni=false",
    );
  }
  const template = join(root, CNI_TEMPLATE);
  const content = existsSync(template) ? readFileSync(template, "utf8") : CNI_TEXT;
  try {
    readCni(content);
  } catch (error) {
    throw new Error(`Cannot use "${CNI_TEMPLATE}": ${errorText(error)}; repair it`);
  }
  return { wanted: [{ path: CNI_FILE, mode: 0o644, content: text(content) }], kept: [] };
}

/** What an installation with these flags brings. @throws {Error} that names what is in the way */
function wantedFiles(flags: Flags, machine: Machine, only: "cni" | undefined) {
  const cni = only === "cni" ||
      (flags.enableCni && hostedPlugins(flags).some(({ plugin }) => plugin.name === "router"))
    ? cniFile(flags.root)
    : { wanted: [], kept: [] };
  if (only === "cni") return cni;
  if (!basename(machine.executable).includes("routelet")) {
    throw new Error(
      `Cannot install "${machine.executable}": it is no routelet; run make build, and install that`,
    );
  }
  // A later installation without flags keeps what the first one was told.
  const said = flags.given.some((name) => !["root", "dry-run", "output", "v"].includes(name));
  const keepsFlags = !said && existsSync(join(flags.root, DEFAULTS));
  const wanted: readonly Wanted[] = [
    { path: EXECUTABLE, mode: 0o755, content: readFileSync(machine.executable) },
    { path: UNIT, mode: 0o644, content: text(UNIT_TEXT) },
    ...(keepsFlags
      ? []
      // Passwords of peers may be in it.
      : [{ path: DEFAULTS, mode: 0o600, content: text(defaultsText(flags)), editable: true }]),
    ...cni.wanted,
  ];
  const kept: readonly Step[] = keepsFlags
    ? [{ path: DEFAULTS, verb: "keep", reason: "no flags were given" }, ...cni.kept]
    : cni.kept;
  return { wanted, kept };
}

/** Installs on this host; refuses as a whole where a file of others is in the way. */
export function install(
  flags: Flags,
  io: Io,
  words: readonly string[],
  machine: Machine = thisMachine(),
): number {
  const [only, ...more] = words;
  if (more.length > 0 || (only !== undefined && only !== "cni")) {
    io.stderr('routelet: install takes "cni" or nothing\n');
    return EXIT.usage;
  }
  try {
    const { root, dryRun } = flags;
    const { wanted, kept } = wantedFiles(flags, machine, only);
    const steps = planInstall(root, wanted, readRecord(root));
    const refused = steps.filter(({ verb }) => verb === "refuse");
    for (const { path, reason } of refused) {
      io.stderr(`routelet: Cannot install "${join(root, path)}": ${reason}\n`);
    }
    if (refused.length > 0) {
      io.stderr("routelet: Nothing was written\n");
      return EXIT.failed;
    }
    const folders = only === "cni" ? [] : [PLUGINS];
    if (!dryRun) writeFiles(root, wanted, steps, folders);
    const wrote = dryRun ? "would write" : "wrote";
    for (const { path, verb, reason } of [...steps, ...kept]) {
      io.stdout(
        verb === "write"
          ? `${wrote} ${join(root, path)}\n`
          : `kept ${join(root, path)}: ${reason}\n`,
      );
    }
    io.stdout(`${dryRun ? "would note" : "noted"} it in ${join(root, RECORD)}\n`);
    if (only === "cni") return 0;
    if (root === "/" && !dryRun && machine.systemctl !== undefined) {
      const wrong = machine.systemctl("daemon-reload");
      if (wrong !== undefined) throw new Error(`Cannot make systemd read the unit: ${wrong}`);
    }
    io.stdout(`next: systemctl enable --now routelet (flags are in ${DEFAULTS})\n`);
    return 0;
  } catch (error) {
    io.stderr(`routelet: ${errorText(error)}\n`);
    return EXIT.failed;
  }
}

/** Stops the agent, removes everything of ours from Linux, then the files. */
export async function uninstall(
  flags: Flags,
  io: Io,
  machine: Machine = thisMachine(),
): Promise<number> {
  const { root, dryRun } = flags;
  const record = readRecord(root);
  const hasUnit = record.files[UNIT] !== undefined && existsSync(join(root, UNIT));
  const { systemctl } = root === "/" ? machine : { systemctl: undefined };
  if (systemctl !== undefined && hasUnit) {
    io.stdout(`${dryRun ? "would run" : "running"} systemctl disable --now routelet\n`);
    const wrong = dryRun ? undefined : systemctl("disable", "--now", "routelet");
    if (wrong !== undefined) {
      io.stderr(`routelet: Cannot stop the agent by systemctl: ${wrong}\n`);
      return EXIT.failed;
    }
  }
  if (root === "/") {
    const { cleanup } = await import("./cleanup.ts");
    // What this command prints besides is text.
    const code = await cleanup({ ...flags, output: "text" }, io);
    // Whoever tries again needs the files.
    if (code !== 0) return code;
  }
  // By now the CNI configuration is as it was installed.
  const steps = planUninstall(root, record, new Set([DEFAULTS]));
  const folders = dryRun ? [] : removeFiles(root, steps, record);
  for (const { path, verb, reason } of steps) {
    io.stdout(
      verb === "write"
        ? `${dryRun ? "would remove" : "removed"} ${join(root, path)}\n`
        : `kept ${join(root, path)}: ${reason}\n`,
    );
  }
  for (const folder of folders) io.stdout(`removed ${join(root, folder)}\n`);
  if (steps.length === 0) io.stdout("no file was installed\n");
  if (systemctl !== undefined && hasUnit && !dryRun) systemctl("daemon-reload");
  return 0;
}
