import { describe, expect, test } from "bun:test";
import { packagesOf, sbom } from "../../../scripts/sbom.ts";

const lock = {
  "node_modules/pino": { version: "10.4.0", license: "MIT", integrity: "sha512-AAEC" },
  "node_modules/@a/b": { version: "1.0.0" },
  "node_modules/pino/node_modules/@a/b": { version: "2.0.0" },
  "node_modules/unused": { version: "3.0.0" },
  "node_modules/bun": { version: "1.4.5", license: "MIT" },
};
const input = {
  name: "routelet",
  version: "0.1.0",
  license: "Apache-2.0",
  commit: "abc1234",
  architecture: "x64",
  sha256: "00ff",
  bun: "1.4.5",
  time: "2026-01-01T00:00:00.000Z",
  files: ["src/main.ts", "node_modules/pino/lib/x.js", "node_modules/pino/node_modules/@a/b/y.js"],
  lock,
};

describe("the packages of a bundle", () => {
  test("are those whose files are in it, each with its own version", () => {
    expect(packagesOf([...input.files, "node_modules/@a/b/z.js"], lock)).toEqual([
      "node_modules/@a/b",
      "node_modules/pino",
      "node_modules/pino/node_modules/@a/b",
    ]);
  });

  test("are all in the lock file, or the build fails", () => {
    expect(() => packagesOf(["node_modules/stray/x.js"], lock)).toThrow(
      "in no package of package-lock.json",
    );
  });
});

describe("the bill of materials", () => {
  const document = JSON.parse(sbom(input)) as Record<string, unknown>;

  test("names the executable by its digest and commit", () => {
    expect(document).toMatchObject({
      bomFormat: "CycloneDX",
      specVersion: "1.5",
      metadata: {
        timestamp: input.time,
        component: {
          name: "routelet",
          hashes: [{ alg: "SHA-256", content: "00ff" }],
          properties: [
            { name: "routelet:commit", value: "abc1234" },
            { name: "routelet:architecture", value: "x64" },
          ],
        },
      },
    });
  });

  test("lists Bun and what is bundled, with licence and digest, and nothing else", () => {
    expect(document["components"]).toMatchObject([
      { name: "bun", version: "1.4.5" },
      {
        name: "pino",
        purl: "pkg:npm/pino@10.4.0",
        licenses: [{ expression: "MIT" }],
        hashes: [{ alg: "SHA-512", content: "000102" }],
      },
      { name: "@a/b", version: "2.0.0", purl: "pkg:npm/%40a/b@2.0.0" },
    ]);
  });

  test("is the same text for the same input", () => {
    expect(sbom(input)).toBe(sbom({ ...input }));
  });
});
