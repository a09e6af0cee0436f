/** Writes to the store: what a real API server does to an object between a request and etcd. */

import { createAllocator } from "./allocate.ts";
import { fillDefaults } from "./defaults.ts";
import { apiVersionOf, kindsOfDefinition } from "./kinds.ts";
import type { Entry, Shelf, Store } from "./store.ts";
import { alreadyExists, conflict, failure, invalid, notFound } from "./status.ts";
import type { KubeObject } from "./types.ts";
import { deepMerge, isObject, listOf, type MutableJson, withoutNulls } from "./values.ts";

export interface WriteOptions {
  readonly dryRun?: boolean;
}

export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** Writes as REST makes them (`create`, `update`, `remove`) and as the lab does (`apply`). */
export interface Writer {
  readonly apply: (object: object) => KubeObject;
  readonly create: (shelf: Shelf, object: KubeObject, options?: WriteOptions) => Entry;
  readonly update: (
    shelf: Shelf,
    key: string,
    object: KubeObject,
    part: Part,
    options?: WriteOptions,
  ) => Entry;
  /** Undefined where a finalizer holds it: then only its deletionTimestamp is set. */
  readonly remove: (shelf: Shelf, key: string, options?: RemoveOptions) => Entry | undefined;
}

/** Which part of an object an update may change. */
export type Part = "object" | "status";

export interface RemoveOptions extends WriteOptions {
  readonly preconditions?: Preconditions;
  /** Removes in spite of finalizers. */
  readonly force?: boolean;
}

export function keyOf(shelf: Shelf, namespace: string | undefined, name: string): string {
  return shelf.kind.namespaced ? `${namespace ?? "default"}/${name}` : name;
}

export function createWriter(store: Store, serviceCIDRs: readonly string[]): Writer {
  const allocator = createAllocator(serviceCIDRs);
  const services = store.byKind("v1", "Service");
  store.on((shelf, { type, entry, old }) => {
    if (shelf === services) {
      allocator.seen(type === "DELETED" ? undefined : entry.object, old?.object);
    }
  });
  let generated = 0;

  function complete(shelf: Shelf, object: KubeObject, old: KubeObject | undefined): void {
    fillDefaults(shelf.kind, object);
    if (shelf === services) allocator.complete(object, old);
  }

  function put(shelf: Shelf, key: string, object: KubeObject, options?: WriteOptions): Entry {
    const old = shelf.entries.get(key);
    if (old !== undefined && sameContent(old.object, object)) return old;
    if (options?.dryRun === true) return dry(store, key, object);
    if (shelf.kind.kind === "CustomResourceDefinition") {
      for (const kind of kindsOfDefinition(object)) store.add(kind);
    }
    return store.batch(() => store.put(shelf, key, object));
  }

  function apply(given: object): KubeObject {
    const { apiVersion, kind, metadata, ...rest } = withoutNulls(given as KubeObject);
    const shelf = store.byKind(apiVersion ?? "", kind ?? "");
    if (shelf === undefined) {
      throw new Error(
        `Cannot apply "${metadata?.name}": no kind "${kind}" in "${apiVersion}"; ` +
          `correct it, or apply its CustomResourceDefinition first`,
      );
    }
    const name = metadata?.name;
    if (typeof name !== "string" || name === "") {
      throw new Error(`Cannot apply a ${kind} without metadata.name; give it one`);
    }
    const key = keyOf(shelf, metadata?.namespace, name);
    const old = shelf.entries.get(key)?.object;
    const merged = shelf.kind.plural === "nodes" && old !== undefined
      ? deepMerge(withoutNulls(old), { ...rest, metadata }) as KubeObject
      : { ...rest, metadata };
    const object = withIdentity(shelf, merged, merged.metadata ?? {}, old, key);
    complete(shelf, object, old);
    return put(shelf, key, object).object;
  }

  function create(shelf: Shelf, given: KubeObject, options?: WriteOptions): Entry {
    const { metadata = {}, ...rest } = withoutNulls(given);
    const name = metadata.name ??
      (metadata.generateName === undefined
        ? undefined
        : metadata.generateName + (++generated).toString(36).padStart(5, "0"));
    if (name === undefined || name === "") {
      throw invalid(
        shelf.kind,
        "",
        "metadata.name",
        "Required value: name or generateName is required",
      );
    }
    if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== "") {
      throw failure(
        400,
        "BadRequest",
        "resourceVersion should not be set on objects to be created",
      );
    }
    const key = keyOf(shelf, metadata.namespace, name);
    if (shelf.entries.has(key)) throw alreadyExists(shelf.kind, name);
    const { uid: _uid, creationTimestamp: _created, ...kept } = metadata;
    const content: MutableJson = { ...rest };
    if (shelf.kind.status) delete content.status;
    const object = withIdentity(shelf, content, { ...kept, name }, undefined, key);
    complete(shelf, object, undefined);
    return put(shelf, key, object, options);
  }

  function update(
    shelf: Shelf,
    key: string,
    given: KubeObject,
    part: Part,
    options?: WriteOptions,
  ): Entry {
    const old = shelf.entries.get(key);
    const name = key.slice(key.indexOf("/") + 1);
    if (old === undefined) throw notFound(shelf.kind, name);
    const { metadata = {}, ...rest } = withoutNulls(given);
    if (metadata.name !== undefined && metadata.name !== name) {
      throw failure(
        400,
        "BadRequest",
        `the name of the object (${metadata.name}) does not match the name on the URL (${name})`,
      );
    }
    const current = old.object.metadata ?? {};
    if (metadata.uid !== undefined && metadata.uid !== "" && metadata.uid !== current.uid) {
      throw conflict(
        shelf.kind,
        name,
        `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${current.uid}`,
      );
    }
    const revision = metadata.resourceVersion ?? "";
    // A lock that could be taken without knowing its state would be none.
    if (revision === "" && shelf.kind.plural === "leases") {
      throw invalid(
        shelf.kind,
        name,
        "metadata.resourceVersion",
        "must be specified for an update",
      );
    }
    if (revision !== "" && revision !== current.resourceVersion) throw conflict(shelf.kind, name);
    const content: MutableJson = part === "status" ? copyOf(old.object) : { ...rest };
    const status = part === "status"
      ? rest.status
      : shelf.kind.status
      ? old.object.status
      : rest.status;
    if (status === undefined) delete content.status;
    else content.status = withoutNulls(status);
    const kept = part === "status" ? current : metadata;
    // Only a DELETE starts a deletion, and nothing takes it back.
    const { deletionTimestamp: _given, ...free } = kept;
    const { deletionTimestamp } = current;
    const owned = deletionTimestamp === undefined ? {} : { deletionTimestamp };
    const object = withIdentity(shelf, content, { ...free, ...owned, name }, old.object, key);
    complete(shelf, object, old.object);
    const entry = put(shelf, key, object, options);
    const ended = object.metadata?.deletionTimestamp !== undefined &&
      listOf(object.metadata.finalizers).length === 0;
    if (ended && options?.dryRun !== true) store.batch(() => store.remove(shelf, key));
    return entry;
  }

  function remove(shelf: Shelf, key: string, options: RemoveOptions = {}): Entry | undefined {
    const old = shelf.entries.get(key);
    const name = key.slice(key.indexOf("/") + 1);
    if (old === undefined) throw notFound(shelf.kind, name);
    const metadata = old.object.metadata ?? {};
    const { uid, resourceVersion } = options.preconditions ?? {};
    if (
      (uid !== undefined && uid !== metadata.uid) ||
      (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion)
    ) throw conflict(shelf.kind, name, "Precondition failed");
    if (options.dryRun === true) return old;
    if (listOf(metadata.finalizers).length > 0 && options.force !== true) {
      if (metadata.deletionTimestamp !== undefined) return undefined;
      const marked = copyOf(old.object);
      marked.metadata = { ...metadata, deletionTimestamp: now() };
      put(shelf, key, marked as KubeObject);
      return undefined;
    }
    return store.batch(() => {
      if (shelf.kind.plural === "namespaces" && shelf.kind.group === "") empty(store, name);
      return store.remove(shelf, key);
    });
  }

  return { apply, create, update, remove };
}

/** Deletes what is in a namespace. */
function empty(store: Store, namespace: string): void {
  for (const shelf of store.shelves.values()) {
    if (!shelf.kind.namespaced) continue;
    for (const key of [...shelf.entries.keys()]) {
      if (key.startsWith(`${namespace}/`)) store.remove(shelf, key);
    }
  }
}

/** The object with apiVersion, kind and the metadata that the server owns, fields in usual order. */
function withIdentity(
  shelf: Shelf,
  content: MutableJson | KubeObject,
  given: NonNullable<KubeObject["metadata"]>,
  old: KubeObject | undefined,
  key: string,
): KubeObject {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...rest } = content;
  const { name, namespace: _namespace, ...others } = given;
  const kept = old?.metadata;
  const metadata: MutableJson = {
    name,
    ...(shelf.kind.namespaced ? { namespace: key.slice(0, key.indexOf("/")) } : {}),
    ...others,
    uid: others.uid ?? kept?.uid ?? crypto.randomUUID(),
    creationTimestamp: others.creationTimestamp ?? kept?.creationTimestamp ?? now(),
    resourceVersion: kept?.resourceVersion,
  };
  return { apiVersion: apiVersionOf(shelf.kind), kind: shelf.kind.kind, metadata, ...rest };
}

function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function copyOf(object: KubeObject): MutableJson {
  return withoutNulls(object) as MutableJson;
}

/** A write that changes nothing makes no new resourceVersion and no event, as in a real server. */
function sameContent(a: KubeObject, b: KubeObject): boolean {
  return Bun.deepEquals(plain(a), plain(b));
}

function plain(object: KubeObject): MutableJson {
  const metadata = isObject(object.metadata) ? object.metadata : {};
  return { ...object, metadata: { ...metadata, resourceVersion: undefined } };
}

function dry(store: Store, key: string, object: KubeObject): Entry {
  const metadata = object.metadata as MutableJson;
  metadata.resourceVersion ??= String(store.revision);
  return { key, object, revision: store.revision, json: JSON.stringify(object) } as Entry;
}
