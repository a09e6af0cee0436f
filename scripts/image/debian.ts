/** The image's Debian: packages by apt, for any architecture, unpacked without running anything of them. */

import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run } from "../run.ts";

/**
 * What the agent and its user need: the packet rules' tools, a modprobe that knows every compression of modules, and one file with a
 * shell and the usual commands.
 */
export const PACKAGES = ["iptables", "kmod", "busybox-static"] as const;

/** Of what Debian packages bring, the parts that a container has no use for. Copyright notices stay. */
const USELESS = [
  "usr/share/man",
  "usr/share/locale",
  "usr/share/lintian",
  "usr/share/bash-completion",
  "usr/share/initramfs-tools",
  "usr/share/bug",
  "usr/share/info",
  "usr/lib/x86_64-linux-gnu/gconv",
  "usr/lib/aarch64-linux-gnu/gconv",
  "etc/init.d",
];

/** Debian's merged /usr: dpkg must find the links, or it makes folders of their names. */
const MERGED = ["bin", "sbin", "lib", "lib64"];

/**
 * The links that Debian's update-alternatives would make. The agent picks the variant that the host uses by its full name; these are for
 * people.
 */
const ALTERNATIVES: Readonly<Record<string, string>> = Object.fromEntries(
  ["iptables", "ip6tables"].flatMap((tool) =>
    ["", "-save", "-restore"].map((suffix) => [`usr/sbin/${tool}${suffix}`, `${tool}-nft${suffix}`])
  ),
);

/** A package that is in the image. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

/**
 * Fetches the packages and all that they depend on into `folder`, by the host's own sources of Debian. What was fetched
 * less than a day ago is taken as it is.
 *
 * @param architecture Debian's name of it: amd64, arm64
 * @returns paths of the .deb files, sorted
 * @throws {Error} where apt cannot reach or resolve them
 */
export async function fetchPackages(
  folder: string,
  architecture: string,
): Promise<readonly string[]> {
  const archives = join(folder, "cache/archives");
  const known = join(folder, "packages.json");
  // What was found today will do.
  if (Date.now() - (statSync(known, { throwIfNoEntry: false })?.mtimeMs ?? 0) < DAY_MS) {
    const files = JSON.parse(readFileSync(known, "utf8")) as readonly string[];
    if (files.length > 0 && files.every((file) => existsSync(file))) return files;
  }
  for (
    const part of [
      "state/lists/partial",
      "cache/archives/partial",
      "none/archives/partial",
      "etc/parts",
    ]
  ) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  // Nothing is installed: so all that they depend on is fetched too.
  writeFileSync(join(folder, "status"), "");
  writeFileSync(join(folder, "etc/sources.list"), `${await debianSources()}\n`);
  const options = Object.entries({
    "APT::Architecture": architecture,
    "APT::Architectures": architecture,
    "Dir::State": join(folder, "state"),
    "Dir::State::status": join(folder, "status"),
    "Dir::Cache": join(folder, "cache"),
    "Dir::Etc::sourcelist": join(folder, "etc/sources.list"),
    "Dir::Etc::sourceparts": join(folder, "etc/parts"),
    "Acquire::Languages": "none",
    "APT::Install-Recommends": "false",
    "APT::Sandbox::User": "root",
  }).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  await run(["apt-get", "-qq", ...options, "update"]);
  const wanted = ["apt-get", "-qq", "-y", ...options, "install", ...PACKAGES];
  // An empty cache: apt names only what it has to fetch, and of earlier runs there may be older ones.
  const planned = await run([
    ...wanted,
    "-o",
    `Dir::Cache=${join(folder, "none")}`,
    "--print-uris",
  ]);
  await run([...wanted, "--download-only"]);
  const files = planned.split("\n").flatMap((line) => /^'\S+' (\S+\.deb) /.exec(line)?.[1] ?? [])
    .map((name) => join(archives, name)).toSorted();
  writeFileSync(known, JSON.stringify(files));
  return files;
}

const DAY_MS = 86_400_000;

/** Lines for apt of Debian's own repositories, as this host has them. */
async function debianSources(): Promise<string> {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
  const found = await run(["apt-get", "indextargets", "--format", format, "Origin: Debian"]);
  const lines = new Set(found.split("\n").filter((line) => line !== ""));
  if (lines.size === 0) {
    throw new Error('This host has no lists of Debian\'s packages; run "apt-get update" as root');
  }
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const signed = existsSync(keys) ? `[signed-by=${keys}] ` : "";
  return [...lines].toSorted().map((line) => `deb ${signed}${line}`).join("\n");
}

/** Unpacks packages into `root`, which must be empty. @returns what is in there */
export async function unpack(
  packages: readonly string[],
  root: string,
): Promise<readonly DebianPackage[]> {
  for (const name of MERGED) {
    mkdirSync(join(root, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  const installed: DebianPackage[] = [];
  const records = join(root, "var/lib/dpkg/status.d");
  mkdirSync(records, { recursive: true });
  for (const file of packages) {
    // dpkg-deb -x would make folders of the links.
    await run([
      "sh",
      "-c",
      'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory="$2"',
      "sh",
      file,
      root,
    ]);
    const control = await run(["dpkg-deb", "-f", file]);
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(control)?.[1] ?? "";
    const name = field("Package");
    installed.push({ name, version: field("Version"), architecture: field("Architecture") });
    // Scanners of images read what is installed here, as in images without dpkg.
    writeFileSync(join(records, name), `${control}\n`);
  }
  for (const path of USELESS) rmSync(join(root, path), { recursive: true, force: true });
  prune(join(root, "usr/share/doc"));
  finish(root);
  return installed;
}

function prune(docs: string): void {
  for (const name of readdirSync(docs)) {
    const folder = join(docs, name);
    for (const file of readdirSync(folder)) {
      if (file !== "copyright") rmSync(join(folder, file), { recursive: true, force: true });
    }
  }
}

/** What maintainer scripts would have done, and the folders of every root. */
function finish(root: string): void {
  for (const folder of ["dev", "etc", "proc", "run", "sys", "tmp", "root", "etc/routelet"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  for (const [path, target] of Object.entries(ALTERNATIVES)) symlinkSync(target, join(root, path));
  symlinkSync("/run", join(root, "var/run"));
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "usr/bin", applet));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\n");
  const release = "/etc/os-release";
  if (existsSync(release) && /^ID=debian$/m.test(readFileSync(release, "utf8"))) {
    cpSync(release, join(root, "etc/os-release"), { dereference: true });
  }
}

/** What busybox is called as: a shell, and what people look around with. */
const APPLETS =
  "sh ash awk cat chmod cp cut date df diff dmesg du echo env find grep head hostname id ip kill less ln ls mkdir mount mv nc netstat nsenter nslookup pidof ping printf ps rm sed sleep sort stat sysctl tail tar tee touch tr traceroute umount uname vi wc wget which xargs"
    .split(" ");
