/**
 * Builds the image: an OCI archive for amd64 and arm64 from the executables in dist/ and Debian's packages, without a container engine.
 * `rootfs` makes the file systems alone and prints where they are. The architectures to build may be named (`amd64`, `arm64`); another than this host's costs nothing but its packages, since
 * nothing of it is run.
 *
 * The file systems stay in .cache/image: the tests run them as they are.
 */

import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { license, name, version } from "../../package.json";
import { type DebianPackage, fetchPackages, unpack } from "./debian.ts";
import { image, type Layer, layout, writeLayout } from "./oci.ts";
import { type Architecture, ARCHITECTURES, ours } from "./ours.ts";
import { run } from "../run.ts";
import { IMAGE_SOURCES, ROOT, sourceCommit, sourceTime } from "../source.ts";

const CACHE = join(ROOT, ".cache/image");
const ARCHIVE = join(ROOT, "dist", `${name}-${version}-oci.tar`);

/** A folder as a tar file that depends on its content alone. */
async function tarOf(folder: string, time: number): Promise<Uint8Array> {
  const file = `${folder}.${process.pid}.tar`;
  await run([
    "tar",
    `--directory=${folder}`,
    "--sort=name",
    `--mtime=@${time}`,
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--format=gnu",
    `--file=${file}`,
    "--create",
    ".",
  ]);
  const bytes = readFileSync(file);
  rmSync(file);
  return bytes;
}

/** Lays an architecture's file system out, as its two layers and as one. What is there already, of the same parts, stays as it is. */
async function layOut(architecture: Architecture) {
  const folder = join(CACHE, architecture);
  mkdirSync(folder, { recursive: true });
  const packages = await fetchPackages(join(folder, "apt"), architecture);
  const parts = createHash("sha256").update(packages.join(" "));
  for (const [path, source, mode] of ours(architecture)) {
    parts.update(`${path} ${mode}`).update(readFileSync(join(ROOT, source)));
  }
  for (const file of ["debian.ts", "main.ts"]) {
    parts.update(readFileSync(join(import.meta.dir, file)));
  }
  const laid = join(folder, parts.digest("hex").slice(0, 16));
  if (!existsSync(laid)) {
    const scratch = `${laid}.${process.pid}`;
    rmSync(scratch, { recursive: true, force: true });
    mkdirSync(join(scratch, "debian"), { recursive: true });
    const installed = await unpack(packages, join(scratch, "debian"));
    writeFileSync(join(scratch, "packages.json"), JSON.stringify(installed));
    for (const [path, source, mode] of ours(architecture)) {
      const target = join(scratch, "ours", path);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join(ROOT, source), target);
      chmodSync(target, mode);
    }
    for (const layer of ["debian", "ours"]) {
      await run(["cp", "-a", `${join(scratch, layer)}/.`, join(scratch, "rootfs")]);
    }
    for (const old of readdirSync(folder)) {
      if (/^[0-9a-f]{16}$/.test(old)) rmSync(join(folder, old), { recursive: true, force: true });
    }
    // Another run may have been faster.
    try {
      renameSync(scratch, laid);
    } catch {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  const installed = JSON.parse(readFileSync(join(laid, "packages.json"), "utf8"));
  return {
    packages: installed as readonly DebianPackage[],
    debian: join(laid, "debian"),
    own: join(laid, "ours"),
    rootfs: join(laid, "rootfs"),
  };
}

async function build(architecture: Architecture, time: number, commit: string) {
  const { packages, debian, own } = await layOut(architecture);
  const layers: readonly Layer[] = [
    { comment: `Debian packages: ${listed(packages)}`, tar: await tarOf(debian, time) },
    { comment: `${name} ${version} (commit ${commit})`, tar: await tarOf(own, time) },
  ];
  const labels = {
    "org.opencontainers.image.title": name,
    "org.opencontainers.image.description":
      "Service proxy, BGP router and network policies for a Kubernetes node",
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.revision": commit,
    "org.opencontainers.image.licenses": license,
    "org.opencontainers.image.base.name": "scratch",
  };
  return image({
    architecture,
    created: new Date(time * 1000).toISOString(),
    entrypoint: ["/usr/local/bin/routelet"],
    environment: [
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      // What an interactive sh reads first: it says who is here.
      "ENV=/etc/routelet/shrc",
    ],
    labels,
  }, layers);
}

function listed(packages: readonly DebianPackage[]): string {
  return packages.map((each) => `${each.name}=${each.version}`).join(" ");
}

async function main(words: readonly string[]): Promise<void> {
  const wanted = words.filter((word) => word !== "rootfs");
  const known = Object.keys(ARCHITECTURES) as Architecture[];
  const chosen = wanted.length === 0 ? known : wanted.map((word) => {
    const found = known.find((each) => each === word);
    if (found === undefined) {
      throw new Error(`Unknown architecture "${word}"; known are ${known.join(", ")}`);
    }
    return found;
  });
  const time = await sourceTime(IMAGE_SOURCES);
  if (wanted.length < words.length) {
    for (const architecture of chosen) console.log((await layOut(architecture)).rootfs);
    return;
  }
  const commit = await sourceCommit(IMAGE_SOURCES);
  const images = [];
  for (const architecture of chosen) images.push(await build(architecture, time, commit));
  const scratch = join(CACHE, `layout-${process.pid}`);
  rmSync(scratch, { recursive: true, force: true });
  writeLayout(scratch, layout(version, images));
  const tar = await tarOf(scratch, time);
  rmSync(scratch, { recursive: true, force: true });
  writeFileSync(`${ARCHIVE}.new`, tar);
  renameSync(`${ARCHIVE}.new`, ARCHIVE);
  const megabytes = (tar.length / 1e6).toFixed(0);
  console.log(`built ${ARCHIVE.slice(ROOT.length + 1)} (${chosen.join(", ")}; ${megabytes} MB)`);
}

// Folders of the image have the modes that they are made with.
process.umask(0o022);
try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`image: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
