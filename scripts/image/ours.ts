/** What of ours is in the image. */

import { join } from "node:path";

const PLUGINS = join(import.meta.dir, "../../plugins.d");

/** Architectures by Debian's and Go's common name, and ours. */
export const ARCHITECTURES = { amd64: "x64", arm64: "arm64" } as const;
export type Architecture = keyof typeof ARCHITECTURES;

/** Files of the second layer: path in the image, path in the repository, mode. */
export function ours(
  architecture: Architecture,
): readonly (readonly [path: string, source: string, mode: number])[] {
  const executable = `dist/routelet-linux-${ARCHITECTURES[architecture]}`;
  return [
    ["usr/local/bin/routelet", executable, 0o755],
    ["usr/share/doc/routelet/routelet.cdx.json", `${executable}.cdx.json`, 0o644],
    // Beside the executable those of them run that a flag names.
    ...[...new Bun.Glob("**/*.ts").scanSync({ cwd: PLUGINS })].toSorted().map((file) =>
      [`usr/local/bin/plugins.d/${file}`, `plugins.d/${file}`, 0o644] as const
    ),
    ["etc/routelet/shrc", "deploy/image/shrc", 0o644],
  ];
}
