/** The version that this executable was built from. */
import { version } from "../../package.json";

/** Set by the build (`--define`); absent when run from source. */
declare const ROUTELET_COMMIT: string | undefined;

export const VERSION: string = version;
export const COMMIT: string = typeof ROUTELET_COMMIT === "undefined" ? "source" : ROUTELET_COMMIT;

/** `routelet 0.1.0 (commit abc1234, Bun 1.4.5, linux x64)`. */
export function versionLine(): string {
  return `routelet ${VERSION} (commit ${COMMIT}, Bun ${Bun.version}, ${process.platform} ${process.arch})`;
}
