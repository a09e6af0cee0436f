/**
 * An API server for one node with a router, in a process of its own: `api.ts FOLDER ADDRESS`. FOLDER/kubeconfig says that it
 * listens. For a line with a number it makes so many Services with their slices, and answers with the line.
 */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createApi } from "../../test/lab/api/mod.ts";
import { service, slice } from "../agent/objects.ts";

const [folder = "", address = ""] = process.argv.slice(2);
const NODE = "node1";
const api = createApi({ host: "127.0.0.1", port: 0 });
api.applyAll([{
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: NODE },
  spec: { podCIDRs: ["10.244.0.0/24"] },
  status: { addresses: [{ type: "InternalIP", address }] },
}]);
api.applyAll(Array.from({ length: 20 }, (_, i) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: `team-${i}` },
})));
await Bun.write(join(folder, "kubeconfig"), api.kubeconfig());
for await (const line of createInterface({ input: process.stdin })) {
  api.applyAll(
    Array.from({ length: Number(line) }, (_, i) => [service(i), slice(i, 0, 2)]).flat(),
  );
  console.log(line);
}
