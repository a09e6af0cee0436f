import { describe, expect, test } from "bun:test";
import { digestOf, image, layout } from "../../../scripts/image/oci.ts";

const config = (architecture: string) => ({
  architecture,
  created: "2026-01-01T00:00:00.000Z",
  entrypoint: ["/usr/local/bin/routelet"],
  environment: ["PATH=/bin"],
  labels: { "org.opencontainers.image.version": "0.1.0" },
});
const layers = [
  { comment: "debian", tar: new TextEncoder().encode("one") },
  { comment: "ours", tar: new TextEncoder().encode("two") },
];
const made = () =>
  layout("0.1.0", [image(config("amd64"), layers), image(config("arm64"), layers)]);

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  readonly platform?: { readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Follows a descriptor, and checks it on the way. */
function blob(files: ReadonlyMap<string, Uint8Array>, { digest, size }: Descriptor): Uint8Array {
  const bytes = files.get(`blobs/sha256/${digest.replace("sha256:", "")}`);
  if (bytes === undefined) throw new Error(`there is no ${digest}`);
  expect([digestOf(bytes), bytes.length]).toEqual([digest, size]);
  return bytes;
}
const parsed = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes));

describe("an image", () => {
  test("is found by its tag, for each architecture, with every blob under its own digest", () => {
    const files = made();
    expect(parsed(files.get("oci-layout"))).toEqual({ imageLayoutVersion: "1.0.0" });
    const [top] = parsed(files.get("index.json")).manifests as readonly Descriptor[];
    expect(top?.annotations).toEqual({ "org.opencontainers.image.ref.name": "0.1.0" });
    if (top === undefined) throw new Error("the index is empty");
    const manifests = parsed(blob(files, top)).manifests as readonly Descriptor[];
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(["amd64", "arm64"]);
    for (const each of manifests) {
      const manifest = parsed(blob(files, each)) as {
        readonly config: Descriptor;
        readonly layers: readonly Descriptor[];
      };
      const { rootfs, architecture, config } = parsed(blob(files, manifest.config));
      expect(architecture).toBe(each.platform?.architecture);
      expect(config.Entrypoint).toEqual(["/usr/local/bin/routelet"]);
      // What is packed is named by its digest as it is, and by that of the tar in the configuration.
      const tars = manifest.layers.map((layer) =>
        Bun.gunzipSync(new Uint8Array(blob(files, layer)))
      );
      expect(tars.map(digestOf)).toEqual(rootfs.diff_ids);
      expect(tars.map((tar) => new TextDecoder().decode(tar))).toEqual(["one", "two"]);
    }
  });

  test("shares what is the same, and has nothing that nobody names", () => {
    // Two layers, two configurations, two manifests, one index.
    expect([...made().keys()].filter((name) => name.startsWith("blobs/")).length).toBe(7);
  });

  test("is the same, byte for byte, when it is made again", () => {
    expect([...made()].map(([name, bytes]) => [name, digestOf(bytes)]))
      .toEqual([...made()].map(([name, bytes]) => [name, digestOf(bytes)]));
  });
});
