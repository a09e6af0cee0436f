/** Errors of the dataplane: what Linux refused, in words that name the object, the reason and the remedy. */

/**
 * Linux refused an operation.
 *
 * `code` is the errno's name ("EEXIST") or one of ours: "ENOSUPPORT" (Linux lacks the feature),
 * "ETIMEDOUT" (no answer within the receive timeout).
 */
export class KernelError extends Error {
  override readonly name = "KernelError";
  /** The operation: "create ipvs.service". */
  readonly op: string;
  readonly code: string;
  /** Text of the extended ack or of the tool, if Linux gave one. */
  readonly detail: string | undefined;
  /** What the user can do about it, if we know. */
  readonly remedy: string | undefined;

  constructor(
    op: string,
    code: string,
    options: { readonly object?: string; readonly detail?: string; readonly remedy?: string } = {},
  ) {
    const object = options.object === undefined ? "" : ` "${options.object}"`;
    const detail = options.detail === undefined ? "" : ` (${options.detail})`;
    const remedy = options.remedy === undefined ? "" : `; ${options.remedy}`;
    super(`Cannot ${op}${object}: ${code}${detail}${remedy}`);
    this.op = op;
    this.code = code;
    this.detail = options.detail;
    this.remedy = options.remedy;
  }
}

/** Whether `error` says that what should be made is there already. */
export function isAlreadyExists(error: unknown): boolean {
  return error instanceof KernelError && error.code === "EEXIST";
}

/** Whether `error` says that the object is not there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof KernelError &&
    ["ENOENT", "ESRCH", "ENODEV", "EADDRNOTAVAIL"].includes(error.code);
}

/** Whether `error` says that this Linux lacks a feature (module, configuration). */
export function isUnsupported(error: unknown): boolean {
  return error instanceof KernelError &&
    ["ENOSUPPORT", "EOPNOTSUPP", "EPROTONOSUPPORT"].includes(error.code);
}
