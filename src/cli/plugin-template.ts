/** What `routelet plugin new` writes. */

/** A plugin that works: a blackhole route for each pod of this node with a label. */
export function pluginTemplate(name: string): string {
  return `import type { Plugin } from "./plugin.d.ts";

/** Pods with the label ${name}=true get no packet: a blackhole route each. */
const plugin: Plugin = {
  name: "${name}",
  api: 1,
  summary: "Blackhole routes for pods with a label",
  options: {
    table: { default: 254, help: "Number of the route table" },
  },
  watches: [{ kind: "pods" }],
  tables: ["routes"],
  setup({ stores, tables, options, input, reconcile }) {
    const { pods } = stores;
    reconcile({
      name: "pod",
      // A change of a pod concerns the unit of its name, and no other.
      inputs: [input(pods, ({ metadata }) => [\`\${metadata.namespace}/\${metadata.name}\`])],
      units: () => pods.keys(),
      // Pure: what one pod wants now. What it does not want any more goes.
      desired(unit, desired) {
        const pod = pods.get(unit);
        if (pod === undefined || pod.metadata.labels["${name}"] !== "true") return;
        if (pod.status.podIPs.length === 0) desired.report("The pod has no address yet");
        for (const address of pod.status.podIPs.filter((ip) => !ip.includes(":"))) {
          desired.want(tables.routes, {
            family: 4,
            table: Number(options["table"]),
            type: "blackhole",
            destination: \`\${address}/32\`,
            metric: 0,
            nextHops: [],
          });
        }
      },
    });
  },
};

export default plugin;
`;
}

/** The cluster of its test. */
export function testCluster(name: string): string {
  return `apiVersion: v1
kind: Node
metadata: { name: node1 }
spec: { podCIDRs: [10.244.1.0/24] }
status: { addresses: [{ type: InternalIP, address: 192.0.2.1 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: plain, namespace: default }
spec: { nodeName: node1, containers: [{ name: shell }] }
status: { phase: Running, podIPs: [{ ip: 10.244.1.5 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: marked, namespace: default, labels: { ${name}: "true" } }
spec: { nodeName: node1, containers: [{ name: shell }] }
status: { phase: Running, podIPs: [{ ip: 10.244.1.6 }] }
`;
}
