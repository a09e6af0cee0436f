/** How to reach the API server and who we are: the same shape whatever it was read from. */

/** Bun's name for what `fetch` takes as `tls`. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Name in the server's certificate, where it is not the host of the URL. */
  readonly serverName?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Identity {
  /** Absent for plain HTTP. */
  readonly tls?: TlsOptions;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Credentials {
  /** URL of the API server without a slash at its end. */
  readonly server: string;
  /** HTTP proxy on the way to it. */
  readonly proxy?: string;
  /** What it was read from, for messages: `kubeconfig "/etc/kubeconfig"`. */
  readonly from: string;
  /**
   * Who we are now: files and exec plugins are read again when due. Cheap in between.
   *
   * @throws {CredentialsError}
   */
  readonly identity: () => Promise<Identity>;
  /** The server refused this identity: unless it is already replaced, the next one is made anew. */
  readonly refused: (identity: Identity) => void;
}

/** Credentials that cannot be had: says which file, what is wrong and what to do. */
export class CredentialsError extends Error {
  override readonly name = "CredentialsError";
}

/** Reads a file or says which one could not be read, what for, and why. */
export async function readCredential(path: string, what: string, remedy: string): Promise<string> {
  try {
    return await Bun.file(path).text();
  } catch (error) {
    throw new CredentialsError(
      `Cannot read ${what} "${path}": ${reasonOf(error)}: ${remedy}`,
      { cause: error },
    );
  }
}

export function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EISDIR") return "it is a folder";
  return error instanceof Error ? error.message : String(error);
}

/** How often files that rotate are read: kubelet renews tokens long before they expire. */
export const REREAD_MS = 60_000;

export interface Refreshed<T> {
  readonly get: () => Promise<T>;
  /** The next `get` reads anew, if this is the value that is held. */
  readonly expire: (value: T) => void;
}

/**
 * Remembers what `read` gave, for as long as it says. Callers at the same time share one reading; where
 * reading anew fails, the value before stays in use until `expire`, as a file is missing for a moment
 * when it is replaced.
 */
export function refreshed<T>(
  read: () => Promise<{ readonly value: T; readonly until: number }>,
  now: () => number = Date.now,
): Refreshed<T> {
  let held: { readonly value: T; readonly until: number } | undefined;
  let reading: Promise<T> | undefined;
  return {
    get: () => {
      if (held !== undefined && now() < held.until) return Promise.resolve(held.value);
      reading ??= (async () => {
        try {
          held = await read();
          return held.value;
        } catch (error) {
          if (held === undefined) throw error;
          held = { value: held.value, until: now() + 1_000 };
          return held.value;
        } finally {
          reading = undefined;
        }
      })();
      return reading;
    },
    expire: (value) => {
      if (held?.value === value) held = undefined;
    },
  };
}
