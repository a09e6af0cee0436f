/** The software bill of materials of an executable, as CycloneDX 1.5 in JSON: what its bundle really contains, and Bun. Pure. */

/** An entry of package-lock.json. */
export interface LockedPackage {
  readonly version?: string;
  /** Where npm found it. */
  readonly resolved?: string;
  /** Subresource integrity: `sha512-…` in base64. */
  readonly integrity?: string;
  readonly license?: string;
}

export interface SbomInput {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly commit: string;
  /** `x64` or `arm64`. */
  readonly architecture: string;
  /** Of the executable, in hex. */
  readonly sha256: string;
  /** Version of Bun, whose executable ours is made from. */
  readonly bun: string;
  /** RFC 3339; of the commit, so that one commit has one text. */
  readonly time: string;
  /** Paths of all files that the bundle was made from, as Bun's metafile names them. */
  readonly files: readonly string[];
  /** `packages` of package-lock.json. */
  readonly lock: Readonly<Record<string, LockedPackage>>;
}

const PACKAGE = /^(?:.*\/)?(node_modules\/(?:@[^/]+\/)?[^/]+)\//;

/** Keys of package-lock.json that the files belong to, sorted. A nested package (`node_modules/a/node_modules/b`) has a key of its own. */
export function packagesOf(
  files: readonly string[],
  lock: SbomInput["lock"],
): readonly string[] {
  const keys = new Set<string>();
  for (const file of files) {
    let key = file.slice(Math.max(0, file.indexOf("node_modules/")));
    if (!key.startsWith("node_modules/")) continue;
    // The longest locked folder that the file is in.
    while (key !== "" && lock[key] === undefined) {
      key = key.slice(0, Math.max(0, key.lastIndexOf("/")));
    }
    if (key === "") {
      throw new Error(
        `"${file}" is in the bundle and in no package of package-lock.json; run npm ci`,
      );
    }
    keys.add(key);
  }
  return [...keys].toSorted();
}

/** Package URL of an npm package. */
function purl(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function component(key: string, locked: LockedPackage) {
  const name = PACKAGE.exec(`${key}/`)?.[1]?.slice("node_modules/".length) ?? key;
  const version = locked.version ?? "";
  const [algorithm, digest] = (locked.integrity ?? "").split("-");
  return {
    type: "library",
    "bom-ref": purl(name, version),
    name,
    version,
    ...(locked.license === undefined ? {} : { licenses: [{ expression: locked.license }] }),
    purl: purl(name, version),
    ...(algorithm !== "sha512" || digest === undefined ? {} : {
      hashes: [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }],
    }),
  };
}

/** The document. The same input gives the same text. */
export function sbom(input: SbomInput): string {
  const parts = packagesOf(input.files, input.lock).map((key) =>
    component(key, input.lock[key] ?? {})
  );
  const self = `pkg:generic/${input.name}@${input.version}?arch=${input.architecture}`;
  const bun = {
    type: "framework",
    "bom-ref": `pkg:npm/bun@${input.bun}`,
    name: "bun",
    version: input.bun,
    licenses: [{ expression: input.lock["node_modules/bun"]?.license ?? "MIT" }],
    purl: `pkg:npm/bun@${input.bun}`,
  };
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: input.time,
      component: {
        type: "application",
        "bom-ref": self,
        name: input.name,
        version: input.version,
        licenses: [{ expression: input.license }],
        hashes: [{ alg: "SHA-256", content: input.sha256 }],
        properties: [
          { name: "routelet:commit", value: input.commit },
          { name: "routelet:architecture", value: input.architecture },
        ],
      },
    },
    components: [bun, ...parts],
    dependencies: [{ ref: self, dependsOn: [bun, ...parts].map((part) => part["bom-ref"]) }],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
