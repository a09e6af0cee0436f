import { afterEach, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ManifestSourceOptions } from "../../../../src/kernel/cluster/mod.ts";
import {
  openManifestSource,
  type Service,
  type StoreChange,
} from "../../../../src/kernel/cluster/mod.ts";
import { KIND_NAMES } from "../../../../src/kernel/cluster/kinds.ts";
import { testLogger } from "../../../../src/kernel/observe/log.ts";
import { cleanups, temporaryFolder, until } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

function open(
  files: Readonly<Record<string, string>>,
  options: Partial<ManifestSourceOptions> = {},
) {
  const directory = temporaryFolder(undo);
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(directory, name, ".."), { recursive: true });
    write(name, text);
  }
  const log = testLogger();
  const source = openManifestSource({
    directory,
    nodeName: "node1",
    log,
    addresses: () => Promise.resolve([{ type: "InternalIP", address: "192.0.2.7" }]),
    freeze: true,
    debounceMs: 10,
    ...options,
  });
  undo.add(() => source.stop());
  const batches: (readonly StoreChange<Service>[])[] = [];
  source.start(KIND_NAMES.map((kind) => ({ kind })));
  source.stores.services.subscribe((changes) => void batches.push(changes));
  const { stores } = source;
  const names = (kind: keyof typeof stores) =>
    [...stores[kind].values()].map(({ metadata }) => metadata.name).toSorted();
  const warnings = () => log.lines.filter(({ level }) => level === "warn");
  const synced = () => until("synced", () => KIND_NAMES.every((kind) => stores[kind].synced));
  return { directory, write, source, stores, log, batches, names, warnings, synced };
}

const SERVICE = `apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.10
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
`;
const POD = (name: string, ip: string, more = "") =>
  `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: main, ports: [{containerPort: 8080}]}]}
status: {podIP: ${ip}${more}}
`;

test("documents of several files fill the stores, with the API server's defaults", async () => {
  const { stores, synced, batches, names } = open({
    "a.yaml": `# a comment\n---\n${SERVICE}---\n${POD("one", "10.244.0.1")}`,
    "b.json": JSON.stringify({
      apiVersion: "v1",
      kind: "List",
      items: [{
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "six", namespace: "other" },
        spec: { clusterIP: "fd00::10", ports: [{ port: 53, protocol: "UDP" }] },
      }],
    }),
    "sub/c.yml": "apiVersion: v1\nkind: Node\nmetadata: {name: node2}\n",
    "notes.txt": "not: {a manifest",
    ".hidden.yaml": "not: {a manifest",
  });
  await synced();

  expect(batches).toHaveLength(1);
  expect(names("services")).toEqual(["six", "web"]);
  expect(names("nodes")).toEqual(["node1", "node2"]);
  expect(names("namespaces")).toEqual(["default", "other"]);
  expect(stores.namespaces.get("other")?.metadata.labels).toEqual({
    "kubernetes.io/metadata.name": "other",
  });
  expect(stores.services.get("default/web")?.spec).toEqual({
    type: "ClusterIP",
    clusterIP: "10.96.0.10",
    clusterIPs: ["10.96.0.10"],
    externalIPs: [],
    ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: 0, targetPort: 8080 }],
    selector: { app: "web" },
    ipFamilies: ["IPv4"],
    internalTrafficPolicy: "Cluster",
    externalTrafficPolicy: "Cluster",
    sessionAffinity: "None",
    sessionAffinityTimeout: 10800,
    healthCheckNodePort: 0,
    loadBalancerSourceRanges: [],
    allocateLoadBalancerNodePorts: true,
    publishNotReadyAddresses: false,
  });
  expect(stores.services.get("other/six")?.spec.ipFamilies).toEqual(["IPv6"]);
});

test("slices are derived from selectors and pods, and follow the pods", async () => {
  const { stores, synced, write, directory } = open({
    "service.yaml": SERVICE,
    "one.yaml": POD("one", "10.244.0.1"),
    "two.yaml": POD("two", "10.244.0.2", ", conditions: [{type: Ready, status: 'False'}]"),
  });
  await synced();
  const slices = () => [...stores.endpointslices.values()];
  const ready = () =>
    slices().flatMap(({ endpoints }) =>
      endpoints.filter(({ conditions }) => conditions.ready).map(({ addresses }) => addresses[0])
    );
  expect(slices()).toHaveLength(1);
  expect(slices()[0]).toMatchObject({
    addressType: "IPv4",
    service: "web",
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  });
  expect(slices()[0]?.endpoints.map(({ addresses }) => addresses)).toEqual([
    ["10.244.0.1"],
    ["10.244.0.2"],
  ]);
  expect(ready()).toEqual(["10.244.0.1"]);

  write("two.yaml", POD("two", "10.244.0.2"));
  await until("two ready", () => ready().length === 2);
  rmSync(join(directory, "one.yaml"));
  await until("one gone", () => ready().join() === "10.244.0.2");
  expect(stores.pods.get("default/one")).toBeUndefined();
});

test("a slice that is given is taken as it is, and nothing is derived for its Service", async () => {
  const { stores, synced, names } = open({
    "all.yaml": `${SERVICE}---
${POD("one", "10.244.0.1")}---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: mine, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.9.9.9]}]
ports: [{name: http, port: 9}]
`,
  });
  await synced();
  expect(names("endpointslices")).toEqual(["mine"]);
  expect(stores.endpointslices.get("default/mine")?.endpoints[0]?.addresses).toEqual(["10.9.9.9"]);
});

test("files that are added, changed and removed while running change just their objects", async () => {
  const { stores, synced, write, directory, batches } = open({ "web.yaml": SERVICE });
  await synced();
  const web = stores.services.get("default/web");
  batches.length = 0;

  write("api.yaml", SERVICE.replaceAll("web", "api"));
  await until("added", () => stores.services.get("default/api") !== undefined);
  write("api.yaml", SERVICE.replaceAll("web", "api").replace("0.10", "0.11"));
  await until("changed", () => stores.services.get("default/api")?.spec.clusterIP === "10.96.0.11");
  rmSync(join(directory, "api.yaml"));
  await until("removed", () => stores.services.size === 1);

  expect(new Set(batches.flat().map(({ key }) => key))).toEqual(new Set(["default/api"]));
  expect(stores.services.get("default/web")).toBe(web as Service);
});

test("a file that is written again without a change wakes nobody", async () => {
  const { stores, synced, write, batches } = open({ "web.yaml": SERVICE });
  await synced();
  const before = stores.services.resourceVersion;
  batches.length = 0;
  write("web.yaml", `# touched\n${SERVICE}`);
  await until("read again", () => stores.services.resourceVersion !== before);
  expect(batches.flat()).toEqual([]);
});

test("a file that does not parse is reported with line and reason, and its last good state stays", async () => {
  const { source, stores, synced, write, warnings, log } = open({
    "good.yaml": SERVICE.replaceAll("web", "good"),
    "web.yaml": SERVICE,
  });
  await synced();
  write("web.yaml", `${SERVICE}---\napiVersion: v1\nkind: [Service\n`);
  await until("reported", () => warnings().length > 0);
  expect(warnings()).toHaveLength(1);
  expect(warnings()[0]).toMatchObject({
    message: "Manifest cannot be read: the last good state of its objects stays",
    fields: { file: "web.yaml", line: 10, reason: "deficient indentation" },
  });
  expect(stores.services.size).toBe(2);
  expect(source.state.connected).toBe(false);
  expect(source.state.kinds[0]?.lastError).toStartWith("web.yaml:10: ");

  write("good.yaml", SERVICE.replaceAll("web", "better"));
  await until("the other file", () => stores.services.get("default/better") !== undefined);
  expect([...stores.services.keys()]).toContain("default/web");
  expect(warnings()).toHaveLength(1);

  write("web.yaml", SERVICE.replace("0.10", "0.20"));
  await until("fixed", () => stores.services.get("default/web")?.spec.clusterIP === "10.96.0.20");
  expect(source.state.connected).toBe(true);
  expect(log.lines.map(({ message }) => message)).toContain("Manifest is in order again");
});

test("a file that was never good since the start is said to be unread, until it is", async () => {
  const { source, stores, synced, write, warnings, names } = open({
    "bad.yaml": "kind: [Service\n",
    "half.yaml": `${
      SERVICE.replaceAll("web", "half").replace("port: 80,", "port: http,")
    }---\n${SERVICE}`,
  });
  await synced();
  expect(names("services")).toEqual(["web"]);
  const half =
    'half.yaml:1: Service "default/half" "spec.ports[0].port" must be an integer, not "http"';
  expect(source.unread).toEqual([expect.stringMatching(/^bad\.yaml:\d: /), half]);
  expect(warnings().map(({ message }) => message)).toEqual([
    "Manifest cannot be read: what an earlier run made of it stays in Linux",
    "Object in a manifest is refused: what an earlier run made of it stays in Linux",
  ]);

  // What comes later is a change, and no earlier run knew it.
  write("later.yaml", "kind: [Service\n");
  await until("told", () => warnings().length === 3);
  expect(warnings()[2]?.message).toEndWith("the last good state of its objects stays");
  expect(source.unread).toHaveLength(2);

  write("bad.yaml", "\n\nkind: [Service\n");
  await until("told", () => warnings().length === 4);
  expect(source.unread).toHaveLength(2);
  write("bad.yaml", SERVICE.replaceAll("web", "good"));
  await until("good", () => stores.services.get("default/good") !== undefined);
  expect(source.unread).toEqual([half]);
  write("bad.yaml", "kind: [Service\n");
  await until("told", () => warnings().length === 5);
  expect(source.unread).toEqual([half]);
  write("half.yaml", SERVICE);
  await until("half", () => source.unread?.length === 0);
});

test("an object that is wrong costs only itself, and keeps its last good state", async () => {
  const { stores, synced, write, warnings, names } = open({ "web.yaml": SERVICE });
  await synced();
  write(
    "web.yaml",
    `${SERVICE.replace("port: 80,", "port: http,")}---\n${SERVICE.replaceAll("web", "next")}`,
  );
  await until("the good one", () => stores.services.get("default/next") !== undefined);
  expect(names("services")).toEqual(["next", "web"]);
  expect(stores.services.get("default/web")?.spec.ports[0]?.port).toBe(80);
  expect(warnings().map(({ fields }) => fields)).toEqual([{
    file: "web.yaml",
    line: 1,
    object: 'Service "default/web"',
    reason: '"spec.ports[0].port" must be an integer, not "http"',
  }]);
});

test.each([
  ["a name is missing", "apiVersion: v1\nkind: Service\n", {
    line: 1,
    object: "Service",
    reason: '"metadata.name" is missing',
  }],
  ["a document is no object", "---\n\n- a\n", {
    line: 3,
    object: "Document",
    reason: 'must be an object, not ["a"]',
  }],
  ["a kind is missing", "apiVersion: v1\n", {
    line: 1,
    object: "Document",
    reason: 'must have texts "apiVersion" and "kind"',
  }],
  [
    "a version is not ours",
    "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: x}\n",
    {
      line: 1,
      object: "EndpointSlice",
      reason: 'apiVersion "discovery.k8s.io/v1beta1" is not read: write "discovery.k8s.io/v1"',
    },
  ],
  [
    "a slice says no family",
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\n",
    {
      line: 1,
      object: 'EndpointSlice "default/x"',
      reason: '"addressType" is missing: write IPv4 or IPv6',
    },
  ],
])("where %s the report says so", async (_, text, fields) => {
  const { synced, warnings } = open({ "bad.yaml": text });
  await synced();
  expect(warnings().map((line) => line.fields)).toEqual([{ file: "bad.yaml", ...fields }]);
});

test("an object in two files is taken from the first by name, and reported", async () => {
  const { stores, synced, warnings } = open({
    "2.yaml": SERVICE.replace("0.10", "0.22"),
    "1.yaml": SERVICE,
  });
  await synced();
  expect(stores.services.get("default/web")?.spec.clusterIP).toBe("10.96.0.10");
  expect(warnings().map(({ fields }) => fields)).toEqual([
    { file: "2.yaml", line: 1, object: "services default/web", first: "1.yaml:1" },
  ]);
});

test("kinds that nobody reads are noticed once each and are no fault", async () => {
  const deployment = (name: string) =>
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}}\n`;
  const { source, synced, log, warnings } = open({
    "a.yaml": `${deployment("a")}---\n${deployment("b")}`,
  });
  await synced();
  expect(warnings()).toEqual([]);
  expect(log.lines.filter(({ fields }) => fields["kind"] === "apps/v1 Deployment")).toHaveLength(1);
  expect(source.state.connected).toBe(true);
});

test("the node of this host is made from its addresses, unless the folder has it", async () => {
  const { stores, synced, write } = open({}, {});
  await synced();
  expect(stores.nodes.get("node1")?.status).toEqual({
    addresses: [
      { type: "InternalIP", address: "192.0.2.7" },
      { type: "Hostname", address: "node1" },
    ],
    ready: true,
  });
  write(
    "node.yaml",
    "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n",
  );
  await until(
    "given",
    () => stores.nodes.get("node1")?.status.addresses[0]?.address === "10.0.0.1",
  );
});

test("a ConfigMap's way of replacing all files at once is followed", async () => {
  const { directory, stores, names } = open({});
  mkdirSync(join(directory, "..v1"));
  writeFileSync(join(directory, "..v1/web.yaml"), SERVICE);
  symlinkSync("..v1", join(directory, "..data"));
  symlinkSync("..data/web.yaml", join(directory, "web.yaml"));
  await until("the first", () => stores.services.size === 1);

  mkdirSync(join(directory, "..v2"));
  writeFileSync(join(directory, "..v2/web.yaml"), SERVICE.replaceAll("web", "new"));
  symlinkSync("..v2", join(directory, "..data_tmp"));
  renameSync(join(directory, "..data_tmp"), join(directory, "..data"));
  await until("the second", () => names("services").join() === "new");
});

test("a link that leads to itself costs only itself, and is named", async () => {
  const { directory, stores, synced, warnings } = open({ "web.yaml": SERVICE }, { pollMs: 20 });
  symlinkSync("loop.yaml", join(directory, "loop.yaml"));
  await synced();
  expect(stores.services.get("default/web")).toBeDefined();
  await until("said", () => warnings().length > 0);
  expect(warnings().map(({ fields }) => (fields as { file?: string }).file)).toEqual(["loop.yaml"]);
});

test("a folder that goes away leaves what was read, and is followed again when it is back", async () => {
  const { directory, stores, synced, warnings } = open({ "web.yaml": SERVICE }, { pollMs: 20 });
  await synced();
  renameSync(directory, `${directory}.gone`);
  undo.add(() => rmSync(`${directory}.gone`, { recursive: true, force: true }));
  await until("noticed", () => warnings().length > 0);
  expect(stores.services.size).toBe(1);
  expect(warnings().map(({ fields }) => fields)).toEqual([
    { error: `Cannot read the manifests in "${directory}": no such file` },
  ]);
  mkdirSync(directory);
  writeFileSync(join(directory, "new.yaml"), SERVICE.replaceAll("web", "new"));
  await until("back", () => stores.services.get("default/new") !== undefined);
});

test("a file in a new sub-folder is found by its events alone", async () => {
  const { directory, stores, synced } = open({}, { pollMs: 1_000_000 });
  await synced();
  mkdirSync(join(directory, "sub"));
  await Bun.sleep(50);
  writeFileSync(join(directory, "sub/web.yaml"), SERVICE);
  await until("found", () => stores.services.size === 1);
  writeFileSync(join(directory, "sub/web.yaml"), SERVICE.replaceAll("web", "new"));
  await until("changed", () => stores.services.get("default/new") !== undefined);
});

test("a store that nobody asked for says so", () => {
  const directory = temporaryFolder(undo);
  const source = openManifestSource({ directory, nodeName: "n", log: testLogger() });
  undo.add(() => source.stop());
  source.start([{ kind: "services" }]);
  expect(() => source.stores.pods.get("a/b")).toThrow('add { kind: "pods" }');
});

test("a folder that is not there is an error at once, with the remedy", () => {
  expect(() =>
    openManifestSource({ directory: "/nonexistent/x", nodeName: "n", log: testLogger() })
  ).toThrow(
    'Cannot read manifests from "/nonexistent/x": no such file: correct --manifests, or make the folder',
  );
});

test("ServiceCIDR objects are read, of either version of the API", async () => {
  const range = (version: string, name: string, cidr: string) =>
    `apiVersion: networking.k8s.io/${version}\nkind: ServiceCIDR\nmetadata: {name: ${name}}\nspec: {cidrs: [${cidr}]}\n`;
  const { stores, synced, warnings, write } = open({
    "ranges.yaml": `${range("v1", "new", "10.200.0.0/24")}---\n${
      range("v1beta1", "old", '"fd00:200::/112"')
    }`,
  });
  await synced();
  const cidrs = () => [...stores.servicecidrs.values()].flatMap(({ spec }) => spec.cidrs);
  expect(cidrs().toSorted()).toEqual(["10.200.0.0/24", "fd00:200::/112"]);
  expect(warnings()).toEqual([]);
  write("ranges.yaml", range("v1", "new", "10.200.0.0/24"));
  await until("one range is gone", () => cidrs().length === 1);
});
