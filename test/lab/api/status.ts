/** Errors of the API: `Status` objects, as apimachinery's api/errors makes them. */

export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface Status {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Record<string, never>;
  readonly status: "Failure" | "Success";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code: number;
}

/** Thrown by the verbs; answered as its Status. */
export class StatusError extends Error {
  readonly status: Status;

  constructor(status: Status) {
    super(status.message ?? status.reason ?? "unknown");
    this.status = status;
  }
}

export function failure(
  code: number,
  reason: string,
  message: string,
  details?: StatusDetails,
): StatusError {
  return new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  });
}

export function success(details: StatusDetails): Status {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details, code: 200 };
}

interface Resource {
  readonly group: string;
  readonly plural: string;
}

function named(resource: Resource, name: string): StatusDetails {
  return {
    name,
    ...(resource.group === "" ? {} : { group: resource.group }),
    kind: resource.plural,
  };
}

function title({ group, plural }: Resource): string {
  return group === "" ? plural : `${plural}.${group}`;
}

export function unknownPath(): StatusError {
  return failure(404, "NotFound", "the server could not find the requested resource", {});
}

export function notFound(resource: Resource, name: string): StatusError {
  const message = `${title(resource)} "${name}" not found`;
  return failure(404, "NotFound", message, named(resource, name));
}

export function alreadyExists(resource: Resource, name: string): StatusError {
  const message = `${title(resource)} "${name}" already exists`;
  return failure(409, "AlreadyExists", message, named(resource, name));
}

export function conflict(resource: Resource, name: string, why?: string): StatusError {
  const cause = why ??
    "the object has been modified; please apply your changes to the latest version and try again";
  const message = `Operation cannot be fulfilled on ${title(resource)} "${name}": ${cause}`;
  return failure(409, "Conflict", message, named(resource, name));
}

export function invalid(resource: Resource, name: string, field: string, why: string): StatusError {
  const message = `${title(resource)} "${name}" is invalid: ${field}: ${why}`;
  return failure(422, "Invalid", message, {
    ...named(resource, name),
    causes: [{ reason: "FieldValueInvalid", message: why, field }],
  });
}

export function badRequest(message: string): StatusError {
  return failure(400, "BadRequest", message);
}

export function expired(): StatusError {
  const message = "The resourceVersion for the provided list or watch is too old.";
  return failure(410, "Expired", message);
}

/** A client asks for a state that is not reached: it came from another server, or from the future. */
export function tooLarge(resourceVersion: number, current: number): StatusError {
  const message = `Too large resource version: ${resourceVersion}, current: ${current}`;
  return failure(504, "Timeout", message, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

export function unauthorized(): StatusError {
  return failure(401, "Unauthorized", "Unauthorized");
}

export function forbidden(
  resource: Resource,
  name: string,
  user: string,
  verb: string,
  scope: string,
): StatusError {
  const message = `${title(resource)}${name === "" ? "" : ` "${name}"`} is forbidden: ` +
    `User "${user}" cannot ${verb} resource "${resource.plural}" in API group ` +
    `"${resource.group}" ${scope}`;
  return failure(403, "Forbidden", message, named(resource, name));
}

export function methodNotAllowed(): StatusError {
  const message = "the server does not allow this method on the requested resource";
  return failure(405, "MethodNotAllowed", message, {});
}

export function unsupportedMediaType(type: string): StatusError {
  const message = `the body of the request was in an unknown format - "${type}"`;
  return failure(415, "UnsupportedMediaType", message, {});
}
