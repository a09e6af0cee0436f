/**
 * What `kubectl kustomize` makes of a folder, as far as `deploy/` uses it: resources, strategic merge patches, images. Anything else in a
 * kustomization is an error, so that nothing is tested that kustomize would do otherwise.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";

export type Value = null | boolean | number | string | readonly Value[] | Fields;
export interface Fields {
  readonly [key: string]: Value;
}

/** Lists that Kubernetes merges by a key of their items (patchMergeKey); others are replaced. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  containers: "name",
  initContainers: "name",
  env: "name",
  ports: "containerPort",
  volumes: "name",
  volumeMounts: "mountPath",
};

function isFields(value: Value | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function list(value: Value | undefined): readonly Value[] {
  return Array.isArray(value) ? value : [];
}

/** All documents of a YAML file. */
export function documents(path: string): readonly Fields[] {
  const parsed = Bun.YAML.parse(readFileSync(path, "utf8")) as Value;
  return (Array.isArray(parsed) ? parsed : [parsed]).filter(isFields);
}

/** A strategic merge patch over an object. */
export function merged(base: Value | undefined, patch: Value, key = ""): Value | undefined {
  if (patch === null) return undefined;
  if (Array.isArray(patch)) {
    const by = MERGE_KEYS[key];
    if (by === undefined) return patch;
    const items = [...list(base)];
    const added: Value[] = [];
    for (const item of patch) {
      if (!isFields(item)) return patch;
      const at = items.findIndex((each) => isFields(each) && each[by] === item[by]);
      if (item["$patch"] === "delete") {
        if (at >= 0) items.splice(at, 1);
      } else if (at >= 0) items[at] = merged(items[at], item) ?? null;
      else added.push(item);
    }
    // kustomize puts what a patch adds first.
    return [...added, ...items];
  }
  if (!isFields(patch)) return patch;
  const { $patch, ...fields } = patch;
  const result: Record<string, Value> = $patch === "replace" || !isFields(base) ? {} : { ...base };
  for (const [name, value] of Object.entries(fields)) {
    const next = merged(result[name], value, name);
    if (next === undefined) delete result[name];
    else result[name] = next;
  }
  return result;
}

const KNOWN = new Set(["apiVersion", "kind", "namespace", "resources", "patches", "images"]);

/** The objects of a kustomization. @throws {Error} where it does what this does not know, or a patch hits nothing */
export function build(folder: string): readonly Fields[] {
  const [kustomization] = documents(join(folder, "kustomization.yaml"));
  if (kustomization === undefined) throw new Error(`${folder} has an empty kustomization`);
  for (const key of Object.keys(kustomization)) {
    if (!KNOWN.has(key)) throw new Error(`${folder}: "${key}" is not known here`);
  }
  let objects = list(kustomization["resources"]).flatMap((entry) => {
    const path = join(folder, `${entry}`);
    return path.endsWith(".yaml") ? documents(path) : build(path);
  });
  for (const patch of list(kustomization["patches"])) {
    const path = isFields(patch) ? `${patch["path"]}` : "";
    for (const change of documents(join(folder, path))) {
      const hit = objects.filter((object) => identity(object) === identity(change));
      if (hit.length !== 1) throw new Error(`${folder}/${path} changes ${hit.length} objects`);
      objects = objects.map((object) =>
        hit[0] === object ? merged(object, change) as Fields : object
      );
    }
  }
  for (const image of list(kustomization["images"])) {
    if (isFields(image)) objects = objects.map((object) => withTag(object, image) as Fields);
  }
  return objects;
}

function identity(object: Fields): string {
  const metadata = object["metadata"];
  const { namespace = "", name = "" } = isFields(metadata) ? metadata : {};
  return `${object["apiVersion"]} ${object["kind"]} ${namespace}/${name}`;
}

function withTag(value: Value, image: Fields): Value {
  if (Array.isArray(value)) return value.map((each) => withTag(each, image));
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      key === "image" && each === image["name"]
        ? `${each}:${image["newTag"]}`
        : withTag(each, image),
    ]),
  );
}
