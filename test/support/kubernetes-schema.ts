/**
 * What an API server refuses with strict field validation: fields that a kind does not have, and values of another type. By the types that
 * `@kubernetes/client-node` has from Kubernetes' own OpenAPI document.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Fields, Value } from "./kustomize.ts";

const MODELS = join(import.meta.dir, "../../node_modules/@kubernetes/client-node/dist/gen/models");

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}

/** The type of an object, by its `apiVersion` and `kind`. */
const TYPES: Readonly<Record<string, string>> = {
  "v1 ServiceAccount": "V1ServiceAccount",
  "v1 ConfigMap": "V1ConfigMap",
  "apps/v1 DaemonSet": "V1DaemonSet",
  "rbac.authorization.k8s.io/v1 ClusterRole": "V1ClusterRole",
  "rbac.authorization.k8s.io/v1 ClusterRoleBinding": "V1ClusterRoleBinding",
  "rbac.authorization.k8s.io/v1 Role": "V1Role",
  "rbac.authorization.k8s.io/v1 RoleBinding": "V1RoleBinding",
};

async function attributesOf(type: string): Promise<readonly Attribute[] | undefined> {
  const path = join(MODELS, `${type}.js`);
  if (!existsSync(path)) return undefined;
  const module = await import(path) as Record<
    string,
    { readonly attributeTypeMap: readonly Attribute[] }
  >;
  return module[type]?.attributeTypeMap;
}

/** What is wrong with an object; empty: nothing. */
export async function schemaFaults(object: Fields): Promise<readonly string[]> {
  const name = `${object["apiVersion"]} ${object["kind"]}`;
  const type = TYPES[name];
  return type === undefined ? [`${name} is not known here`] : await faults(object, type, "");
}

async function faults(value: Value, type: string, at: string): Promise<readonly string[]> {
  const list = /^Array<(.*)>$/.exec(type)?.[1];
  if (list !== undefined) {
    if (!Array.isArray(value)) return [`${at} is no list`];
    const items = value as readonly Value[];
    return (await Promise.all(items.map((item, i) => faults(item, list, `${at}[${i}]`)))).flat();
  }
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  if (["string", "number", "boolean"].includes(type)) {
    const given: string = typeof value;
    return given === type ? [] : [`${at} is no ${type}: ${JSON.stringify(value)}`];
  }
  if (type === "IntOrString") {
    const fits = typeof value === "string" || Number.isInteger(value);
    return fits ? [] : [`${at} is neither a number nor a text`];
  }
  if (type === "any") return [];
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [`${at} is no object`];
  }
  const fields = Object.entries(value as Fields);
  if (map !== undefined) {
    return (await Promise.all(fields.map(([key, each]) => faults(each, map, `${at}.${key}`))))
      .flat();
  }
  const attributes = await attributesOf(type);
  if (attributes === undefined) return [`${at} has the type ${type}, which is not known here`];
  const found = await Promise.all(fields.map(async ([key, each]) => {
    const attribute = attributes.find(({ baseName }) => baseName === key);
    return attribute === undefined
      ? [`${at}.${key} is no field of ${type}`]
      : await faults(each, attribute.type, `${at}.${key}`);
  }));
  return found.flat();
}
