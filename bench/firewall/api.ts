/** An API server in a process of its own: `api.ts FOLDER PODS POLICIES`. FOLDER/kubeconfig and FOLDER/access.json say that it listens. */

import { join } from "node:path";
import { createApi } from "../../test/lab/api/mod.ts";
import { namespaceObject, NAMESPACES, nodeObject, podObject, policyObject } from "./objects.ts";

const [folder = "", pods = "", policies = ""] = process.argv.slice(2);
const api = createApi({ host: "127.0.0.1", port: 0 });
api.applyAll([nodeObject()]);
api.applyAll(Array.from({ length: NAMESPACES }, (_, i) => namespaceObject(i)));
api.applyAll(Array.from({ length: Number(policies) }, (_, i) => policyObject(i)));
const PORTION = 5_000;
for (let from = 0; from < Number(pods); from += PORTION) {
  const count = Math.min(PORTION, Number(pods) - from);
  api.applyAll(Array.from({ length: count }, (_, i) => podObject(from + i)));
}
await Bun.write(
  join(folder, "access.json"),
  JSON.stringify({ url: api.url, token: api.token }),
);
await Bun.write(join(folder, "kubeconfig"), api.kubeconfig());
await new Promise(() => {});
