/** The manifests, against Kubernetes' own types and, where it is installed, kustomize itself. */

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { schemaFaults } from "../../support/kubernetes-schema.ts";
import { build, type Fields, type Value } from "../../support/kustomize.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy/kustomize");
const FOLDERS = [
  "base",
  ...readdirSync(join(DEPLOY, "overlays")).toSorted().map((name) => `overlays/${name}`),
];
const KUSTOMIZE = [["kubectl", "kustomize"], ["kustomize", "build"]].find(([program = ""]) =>
  Bun.which(program) !== null
);
const LACKS = KUSTOMIZE === undefined ? " (left out: neither kubectl nor kustomize here)" : "";

interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly volumes: readonly { readonly name: string; readonly configMap?: Named }[];
    readonly serviceAccountName: string;
  };
}
interface Named {
  readonly name: string;
}
interface Container extends Named {
  readonly ports?: readonly Named[];
  readonly volumeMounts?: readonly Named[];
  readonly [probe: string]: unknown;
}

const identity = (object: Fields): string => {
  const { name, namespace } = object["metadata"] as { name: string; namespace?: string };
  return `${object["kind"]} ${namespace ?? ""}/${name}`;
};

/** With the fields of every object in one order. */
function sorted(value: Value): Value {
  if (Array.isArray(value)) return (value as readonly Value[]).map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, sorted(each)] as const)
      .toSorted(([a], [b]) => a < b ? -1 : 1),
  );
}

describe.each(FOLDERS)("%s", (folder) => {
  const objects = build(join(DEPLOY, folder));

  test("has only fields that Kubernetes knows, with values of their types", async () => {
    expect(
      (await Promise.all(
        objects.map(async (object) =>
          (await schemaFaults(object)).map((fault) => `${identity(object)}: ${fault}`)
        ),
      )).flat(),
    ).toEqual([]);
  });

  test("names in it lead to what is in it", () => {
    const there = new Set(objects.map(identity));
    for (const object of objects) {
      if (object["kind"] === "DaemonSet") {
        const { selector, template } = object["spec"] as unknown as {
          readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
          readonly template: PodTemplate;
        };
        const { labels } = template.metadata;
        expect(labels).toMatchObject(selector.matchLabels);
        const { containers, initContainers = [], volumes, serviceAccountName } = template.spec;
        expect(there).toContain(`ServiceAccount kube-system/${serviceAccountName}`);
        for (const { configMap } of volumes) {
          if (configMap !== undefined) {
            expect(there).toContain(`ConfigMap kube-system/${configMap.name}`);
          }
        }
        const all = [...initContainers, ...containers];
        expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
        const mounted = all.flatMap(({ volumeMounts = [] }) =>
          volumeMounts.map(({ name }) => name)
        );
        expect(new Set(mounted)).toEqual(new Set(volumes.map(({ name }) => name)));
        for (const container of containers) {
          const ports = (container.ports ?? []).map(({ name }) => name);
          for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
            const asked = container[probe] as { httpGet?: { port: string } } | undefined;
            if (asked?.httpGet !== undefined) expect(ports).toContain(asked.httpGet.port);
          }
        }
      }
      if (/RoleBinding$/.test(`${object["kind"]}`)) {
        const { kind, name } = object["roleRef"] as unknown as { kind: string; name: string };
        const own = (object["metadata"] as { namespace?: string }).namespace ?? "";
        expect(there).toContain(`${kind} ${kind === "Role" ? own : ""}/${name}`);
        for (const subject of object["subjects"] as unknown as readonly Required<Subject>[]) {
          expect(there).toContain(`${subject.kind} ${subject.namespace}/${subject.name}`);
        }
      }
    }
  });

  test.skipIf(KUSTOMIZE === undefined)(`is what kustomize makes of it${LACKS}`, async () => {
    const child = Bun.spawn([...KUSTOMIZE ?? [], join(DEPLOY, folder)], {
      stdin: "ignore",
      stderr: "pipe",
    });
    const [text, problems] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect(problems).toBe("");
    const theirs = text.split(/^---$/m).map((each) => Bun.YAML.parse(each) as Fields);
    const byName = (all: readonly Fields[]) =>
      Object.fromEntries(all.map((each) => [identity(each), sorted(each)] as const));
    expect(byName(theirs)).toEqual(byName(objects));
  });
});

interface Subject {
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
}

test("a field that is misspelt, and a value of another type, are found", async () => {
  const spec = { selector: { matchLabel: {} }, minReadySeconds: "5", template: { spec: 1 } };
  expect(await schemaFaults({ apiVersion: "apps/v1", kind: "DaemonSet", spec })).toEqual([
    ".spec.selector.matchLabel is no field of V1LabelSelector",
    '.spec.minReadySeconds is no number: "5"',
    ".spec.template.spec is no object",
  ]);
  expect(await schemaFaults({ apiVersion: "extensions/v1beta1", kind: "DaemonSet" })).toEqual([
    "extensions/v1beta1 DaemonSet is not known here",
  ]);
});
