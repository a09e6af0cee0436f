/**
 * Images as the Open Container Initiative writes them (image-spec 1.1): blobs by digest, a configuration and a manifest for each
 * architecture, one index over all. Pure but for `writeLayout`. The same input gives the same bytes.
 */

import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const MEDIA = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
} as const;

export interface Layer {
  /** What it brings, for the image's history. */
  readonly comment: string;
  /** The tar file. */
  readonly tar: Uint8Array;
}

export interface ImageConfig {
  /** Go's name: amd64, arm64. */
  readonly architecture: string;
  /** RFC 3339. */
  readonly created: string;
  readonly entrypoint: readonly string[];
  readonly environment: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface Blob {
  readonly digest: string;
  readonly bytes: Uint8Array;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string; readonly os: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function blob(bytes: Uint8Array): Blob {
  return { digest: digestOf(bytes), bytes };
}

function json(value: unknown): Blob {
  return blob(new TextEncoder().encode(JSON.stringify(value)));
}

function descriptor(mediaType: string, { digest, bytes }: Blob): Descriptor {
  return { mediaType, digest, size: bytes.length };
}

/** The blobs of one architecture's image, and what describes its manifest. */
export function image(
  config: ImageConfig,
  layers: readonly Layer[],
): { readonly blobs: readonly Blob[]; readonly manifest: Descriptor } {
  // gzip's header has no time and no name here.
  const packed = layers.map(({ tar }) => blob(Bun.gzipSync(new Uint8Array(tar), { level: 6 })));
  const configuration = json({
    created: config.created,
    architecture: config.architecture,
    os: "linux",
    config: {
      Env: config.environment,
      Entrypoint: config.entrypoint,
      WorkingDir: "/",
      Labels: config.labels,
    },
    rootfs: { type: "layers", diff_ids: layers.map(({ tar }) => digestOf(tar)) },
    history: layers.map(({ comment }) => ({ created: config.created, created_by: comment })),
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: descriptor(MEDIA.config, configuration),
    layers: packed.map((layer) => descriptor(MEDIA.layer, layer)),
    annotations: config.labels,
  });
  return {
    blobs: [...packed, configuration, manifest],
    manifest: {
      ...descriptor(MEDIA.manifest, manifest),
      platform: { architecture: config.architecture, os: "linux" },
    },
  };
}

/** The files of a layout (image-spec, image-layout.md) with one image of several architectures under a tag. */
export function layout(
  tag: string,
  images: readonly { readonly blobs: readonly Blob[]; readonly manifest: Descriptor }[],
): ReadonlyMap<string, Uint8Array> {
  const index = json({
    schemaVersion: 2,
    mediaType: MEDIA.index,
    manifests: images.map(({ manifest }) => manifest),
  });
  const top = json({
    schemaVersion: 2,
    mediaType: MEDIA.index,
    manifests: [{
      ...descriptor(MEDIA.index, index),
      annotations: { "org.opencontainers.image.ref.name": tag },
    }],
  });
  const files = new Map([
    ["oci-layout", new TextEncoder().encode('{"imageLayoutVersion":"1.0.0"}')],
    ["index.json", top.bytes],
  ]);
  for (const { digest, bytes } of [...images.flatMap(({ blobs }) => blobs), index]) {
    files.set(`blobs/sha256/${digest.slice("sha256:".length)}`, bytes);
  }
  return files;
}

/** Writes a layout's files into a folder. */
export function writeLayout(folder: string, files: ReadonlyMap<string, Uint8Array>): void {
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
}
