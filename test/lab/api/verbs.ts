/** The verbs of the REST API other than watch. */

import { selectionOf } from "./query.ts";
import { list } from "./list.ts";
import { keyOf, type Preconditions, type Writer } from "./objects.ts";
import { applyPatch } from "./patch.ts";
import type { Route, Target } from "./route.ts";
import { badRequest, methodNotAllowed, notFound, success } from "./status.ts";
import type { Entry, Store } from "./store.ts";
import type { KubeObject } from "./types.ts";
import { isObject } from "./values.ts";

export interface Answer {
  readonly status: number;
  readonly json: string;
}

export interface Call {
  readonly route: Route;
  readonly target: Target;
  readonly params: URLSearchParams;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Throws StatusErrors. */
export function serve(store: Store, writer: Writer, pageSize: number, call: Call): Answer {
  const { target, params, route } = call;
  const { shelf, namespace, name } = target;
  const part = target.subresource === "status" ? "status" : "object";
  const options = { dryRun: params.get("dryRun") === "All" };
  if (route.verb === "list") {
    return { status: 200, json: list(store, target, params, pageSize) };
  }
  if (route.verb === "deletecollection") return deleteCollection(writer, call);
  if (route.verb === "create") {
    if (name !== undefined) throw methodNotAllowed();
    const object = objectIn(call);
    const given = object.metadata?.namespace;
    if (namespace !== undefined && given !== undefined && given !== namespace) {
      throw badRequest(
        `the namespace of the provided object does not match the namespace sent on the request`,
      );
    }
    const placed = namespace === undefined
      ? object
      : { ...object, metadata: { ...object.metadata, namespace } };
    return { status: 201, json: writer.create(shelf, placed, options).json };
  }
  if (name === undefined) throw methodNotAllowed();
  const key = keyOf(shelf, namespace, name);
  switch (route.verb) {
    case "get":
      return { status: 200, json: existing(call, key).json };
    case "update":
      return { status: 200, json: writer.update(shelf, key, objectIn(call), part, options).json };
    case "patch":
      return patch(writer, call, key);
    case "delete": {
      const { object } = existing(call, key);
      const preconditions = preconditionsIn(call);
      const removed = writer.remove(shelf, key, { ...options, preconditions });
      if (removed === undefined) return { status: 200, json: existing(call, key).json };
      const { group, plural } = shelf.kind;
      const details = { name, ...(group === "" ? {} : { group }), kind: plural };
      const uid = object.metadata?.uid;
      const { code: _code, ...status } = success(uid === undefined ? details : { ...details, uid });
      return { status: 200, json: JSON.stringify(status) };
    }
    default:
      throw methodNotAllowed();
  }
}

function existing({ target }: Call, key: string): Entry {
  const entry = target.shelf.entries.get(key);
  if (entry === undefined) throw notFound(target.shelf.kind, target.name ?? "");
  return entry;
}

function patch(writer: Writer, call: Call, key: string): Answer {
  const { shelf, namespace, name, subresource } = call.target;
  const options = { dryRun: call.params.get("dryRun") === "All" };
  const part = subresource === "status" ? "status" : "object";
  const body = valueIn(call);
  const entry = shelf.entries.get(key);
  if (entry === undefined) {
    // Server-side apply creates what is not there.
    if (!call.contentType.startsWith("application/apply-patch") || !isObject(body)) {
      throw notFound(shelf.kind, name ?? "");
    }
    const metadata = { ...(body as KubeObject).metadata, name: name ?? "" };
    const placed = {
      ...body,
      metadata: namespace === undefined ? metadata : { ...metadata, namespace },
    };
    return { status: 201, json: writer.create(shelf, placed, options).json };
  }
  const patched = applyPatch(call.contentType, entry.object, body);
  if (!isObject(patched)) throw badRequest("the patched object is no object");
  // The patch was made over the state that is replaced, unless it names another itself.
  return {
    status: 200,
    json: writer.update(shelf, key, patched as KubeObject, part, options).json,
  };
}

function deleteCollection(writer: Writer, call: Call): Answer {
  const { target, params } = call;
  const selected = selectionOf(target, params);
  const options = { dryRun: params.get("dryRun") === "All" };
  const entries = target.shelf.sorted().filter(({ object }) => selected?.(object) ?? true);
  for (const entry of entries) writer.remove(target.shelf, entry.key, options);
  const { kind } = target.shelf;
  const items = entries.map((entry) => entry.json).join(",");
  return {
    status: 200,
    json: `{"kind":"${kind.kind}List","apiVersion":"${
      kind.group === "" ? kind.version : `${kind.group}/${kind.version}`
    }","metadata":{},"items":[${items}]}`,
  };
}

function preconditionsIn(call: Call): Preconditions {
  if (call.body.length === 0) return {};
  const { preconditions } = objectIn(call) as { preconditions?: Preconditions };
  return preconditions ?? {};
}

function objectIn(call: Call): KubeObject {
  const value = valueIn(call);
  if (!isObject(value)) throw badRequest("the body of the request is no object");
  return value as KubeObject;
}

function valueIn({ body, contentType }: Call): unknown {
  const text = Buffer.from(body).toString();
  try {
    return contentType.includes("yaml") ? Bun.YAML.parse(text) : JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw badRequest(`the body of the request cannot be read: ${reason}`);
  }
}
