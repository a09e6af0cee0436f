/** What of ours is in the image. */

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
    // Beside the executable it would run wherever the image does.
    ["usr/share/routelet/plugins.d/hostport.ts", "plugins.d/hostport.ts", 0o644],
    ["etc/routelet/shrc", "deploy/image/shrc", 0o644],
  ];
}
