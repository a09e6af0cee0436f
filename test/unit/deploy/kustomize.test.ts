/** The manifests, as kustomize puts them together, against the code that they start. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { version } from "../../../package.json";
import { hostedPlugins } from "../../../src/cli/agent.ts";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { defaultFlags } from "../../../src/cli/flags.ts";
import { parseFlags } from "../../../src/cli/parse-flags.ts";
import { startWarnings } from "../../../src/cli/validate-flags.ts";
import {
  type AccessRule,
  accessRules,
  ALLOCATOR_RULES,
  LEASE_RULES,
} from "../../../src/kernel/cluster/access.ts";
import { RUNTIME_DIRECTORY } from "../../../src/kernel/dataplane/linux/ledger.ts";
import { CNI_CONF } from "../../../src/plugins/router/networking.ts";
import { PACKAGES } from "../../../scripts/image/debian.ts";
import { ours } from "../../../scripts/image/ours.ts";
import { build, documents, type Fields } from "../../support/kustomize.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy/kustomize");
const OVERLAYS = readdirSync(join(DEPLOY, "overlays")).toSorted();
const AGENTS = OVERLAYS.filter((name) => name !== "cleanup");

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly [probe: string]: unknown;
}
interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
  readonly [field: string]: unknown;
}

function object(objects: readonly Fields[], kind: string): Fields {
  const found = objects.find((each) => each["kind"] === kind);
  if (found === undefined) throw new Error(`there is no ${kind}`);
  return found;
}

function podOf(objects: readonly Fields[]): PodSpec {
  const { spec } = object(objects, "DaemonSet") as unknown as {
    readonly spec: { readonly template: { readonly spec: PodSpec } };
  };
  return spec.template.spec;
}

function containersOf({ initContainers = [], containers }: PodSpec): readonly Container[] {
  return [...initContainers, ...containers];
}

/** The agent's container and its command line, parsed as the executable parses it. */
function agentOf(objects: readonly Fields[]) {
  const container = podOf(objects).containers.find(({ name }) => name === "routelet");
  if (container === undefined) throw new Error("there is no container routelet");
  return { container, line: parseFlags(container.args ?? []) };
}

const plugins = (name: string): readonly string[] =>
  hostedPlugins(agentOf(build(join(DEPLOY, "overlays", name))).line.flags)
    .map(({ plugin }) => plugin.name).toSorted();

describe("the manifests", () => {
  test("there is an overlay for each of the user's documents", () => {
    expect(AGENTS).toEqual([
      "advertise-routes",
      "all-features",
      "dsr",
      "firewall-only",
      "hostport",
      "load-balancer",
      "proxy-only",
      "router-only",
    ]);
  });

  const asRules = (rules: readonly AccessRule[]) =>
    rules.map(({ group, resources, verbs }) => ({ apiGroups: [group], resources, verbs }));

  test("the cluster role is what the code asks for, and no more", () => {
    const role = object(build(join(DEPLOY, "base")), "ClusterRole");
    expect<unknown>(role["rules"]).toEqual(asRules(accessRules()));
  });

  test("the allocator may write what it writes, Leases in its own namespace alone", () => {
    const objects = build(join(DEPLOY, "overlays/load-balancer"));
    const rules = (kind: string) =>
      objects.find((each) =>
        each["kind"] === kind &&
        (each["metadata"] as Fields)["name"] === "routelet-load-balancer"
      )?.["rules"];
    expect<unknown>(rules("ClusterRole")).toEqual(asRules(ALLOCATOR_RULES));
    expect<unknown>(rules("Role")).toEqual(asRules(LEASE_RULES));
  });

  test("the binding gives that role to the service account of the pods", () => {
    const objects = build(join(DEPLOY, "base"));
    const { roleRef, subjects } = object(objects, "ClusterRoleBinding");
    expect<unknown>(roleRef).toMatchObject({ kind: "ClusterRole", name: "routelet" });
    const { namespace, name } = object(objects, "ServiceAccount")["metadata"] as Fields;
    expect<unknown>(subjects).toEqual([{
      kind: "ServiceAccount",
      name: name ?? "",
      namespace: namespace ?? "",
    }]);
    expect(podOf(objects)["serviceAccountName"]).toBe(`${name}`);
  });

  test.each(["base", ...OVERLAYS.map((name) => `overlays/${name}`)])("%s is whole", (folder) => {
    const pod = podOf(build(join(DEPLOY, folder)));
    expect(pod).toMatchObject({
      hostNetwork: true,
      priorityClassName: "system-node-critical",
      tolerations: [{ operator: "Exists" }],
    });
    const volumes = pod.volumes.map(({ name }) => name);
    for (const { image, args, volumeMounts } of containersOf(pod)) {
      expect(image).toBe(`routelet:${version}`);
      for (const { name } of volumeMounts) expect(volumes).toContain(name);
      const { positionals: [command = "run", ...words] } = parseFlags(args ?? []);
      expect(Object.keys(COMMANDS)).toContain(command);
      if (words.length > 0) expect(COMMANDS[command]).toHaveProperty("words");
    }
  });

  test.each(AGENTS)("overlay %s gives flags that this version serves", (name) => {
    const { line } = agentOf(build(join(DEPLOY, "overlays", name)));
    expect(startWarnings(line.flags)).toEqual([]);
  });

  test.each(AGENTS)("overlay %s probes where the agent listens, and keeps what it must", (name) => {
    const objects = build(join(DEPLOY, "overlays", name));
    const { container, line } = agentOf(objects);
    const health = container.ports?.find((port) => port.name === "health")?.containerPort;
    expect(health).toBe(line.flags.healthPort);
    for (
      const [probe, path] of [["livenessProbe", "/livez"], ["startupProbe", "/livez"], [
        "readinessProbe",
        "/readyz",
      ]]
    ) {
      expect(container[probe ?? ""]).toMatchObject({ httpGet: { path, port: "health" } });
    }
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
    expect(mounts).toEqual(
      expect.arrayContaining([
        RUNTIME_DIRECTORY,
        "/etc/cni/net.d",
        "/lib/modules",
        "/run/xtables.lock",
      ]),
    );
    expect(line.flags.runtimeDir).toBe(RUNTIME_DIRECTORY);
  });

  test("each runs its functions and no other", () => {
    const all = ["firewall", "proxy", "router"];
    expect(Object.fromEntries(AGENTS.map((name) => [name, plugins(name)]))).toEqual({
      "advertise-routes": all,
      "all-features": all,
      "dsr": all,
      "firewall-only": ["firewall"],
      "hostport": all,
      "load-balancer": [...all, "loadbalancer"].toSorted(),
      "proxy-only": ["proxy"],
      "router-only": ["router"],
    });
  });

  test("only those with a router bring a CNI configuration", () => {
    const bringing = AGENTS.filter((name) =>
      podOf(build(join(DEPLOY, "overlays", name))).initContainers?.some(({ args }) =>
        args?.join(" ") === "install cni"
      )
    );
    expect(bringing).toEqual(AGENTS.filter((name) => plugins(name).includes("router")));
  });

  test("the CNI configuration has the name that the router looks for, and portmap but for the plugin's", () => {
    for (const name of AGENTS) {
      const data = object(build(join(DEPLOY, "overlays", name)), "ConfigMap")["data"] as Record<
        string,
        string
      >;
      const [[file = "", text = ""] = []] = Object.entries(data);
      expect(`/etc/cni/net.d/${file}`).toBe(`${CNI_CONF}list`);
      const { plugins } = JSON.parse(text) as {
        readonly plugins: readonly { readonly type: string }[];
      };
      expect(plugins.map(({ type }) => type)).toEqual(
        name === "hostport" ? ["bridge"] : ["bridge", "portmap"],
      );
    }
  });

  test("on the way out everything is removed once, with its proof, and nothing runs", () => {
    const { initContainers = [], containers } = podOf(build(join(DEPLOY, "overlays/cleanup")));
    expect(initContainers.map(({ args }) => args)).toEqual([["uninstall", "--verify"]]);
    expect(initContainers[0]?.["securityContext"]).toEqual({ privileged: true });
    expect(containers.map((each) => [each["command"], each.args, each["livenessProbe"]]))
      .toEqual([[["sleep", "infinity"], [], undefined]]);
  });

  test("the plugin that an overlay names is beside the image's executable, by make image and by the Dockerfile", () => {
    const { line } = agentOf(build(join(DEPLOY, "overlays/hostport")));
    expect(Object.keys(line.flags.plugin)).toEqual(["hostport"]);
    expect(ours("amd64").map(([path]) => path)).toContain("usr/local/bin/plugins.d/hostport.ts");
    const dockerfile = readFileSync(join(DEPLOY, "../image/Dockerfile"), "utf8");
    for (const [path, source] of ours("amd64")) {
      if (source.endsWith(".cdx.json")) continue;
      if (source.startsWith("plugins.d/")) continue;
      const target = path.startsWith("usr/local/bin/") ? `/${path}` : `${dirname(`/${path}`)}/`;
      expect(dockerfile).toContain(target);
      expect(dockerfile).toContain(source);
    }
    expect(dockerfile).toContain(" plugins.d/ /usr/local/bin/plugins.d/");
    for (const name of PACKAGES) expect(dockerfile).toContain(` ${name}`);
  });

  test("defaults in the manifests are those of the code", () => {
    expect(defaultFlags().healthPort).toBe(20244);
  });

  test("every YAML file is in a kustomization", () => {
    const files = readdirSync(DEPLOY, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".yaml"));
    for (const file of files) {
      expect(documents(join(DEPLOY, file)).length, file).toBeGreaterThan(0);
      if (file.endsWith("kustomization.yaml")) continue;
      const own = readFileSync(join(DEPLOY, file, "../kustomization.yaml"), "utf8");
      expect(own, file).toContain(file.split("/").at(-1) ?? "");
    }
  });
});
