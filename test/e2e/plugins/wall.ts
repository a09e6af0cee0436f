// Written from docs/plugins.md and the types alone: a wall before pods with the label wall=true; only the pods that its option
// names are let in, over IPv4. It stands in the packet filter, beside all other rules.
import type { FilterRule, Plugin, Pod } from "./plugin.d.ts";

const CHAIN = "RL-WALL-PODS";
const WALLED = "rl-wall-pods";
const FRIENDS = "rl-wall-friends";

const plugin: Plugin = {
  name: "wall",
  api: 1,
  summary: "Pods that only some may reach",
  options: { friends: { default: ["client"], help: "Names of the pods that are let in" } },
  watches: [{ kind: "pods" }],
  tables: ["ipsets", "ipsetMembers", "chains", "jumps"],
  setup({ stores, tables, options, input, reconcile }) {
    const { pods } = stores;
    const friends = options["friends"] as readonly string[];
    reconcile({
      name: "wall",
      inputs: [],
      units: () => ["all"],
      desired(_unit, { want }) {
        for (const name of [WALLED, FRIENDS]) {
          want(tables.ipsets, { name, type: "hash:ip", family: 4 });
        }
        const toWalled = { kind: "set", set: WALLED, directions: ["dst"] } as const;
        const rules: readonly FilterRule[] = [
          {
            matches: [{ kind: "state", states: ["established", "related"] }],
            target: { kind: "return" },
          },
          {
            matches: [toWalled, {
              kind: "set",
              set: FRIENDS,
              directions: ["src"],
              negate: true,
            }],
            target: { kind: "drop" },
            comment: "behind the wall",
          },
        ];
        want(tables.chains, { family: 4, table: "filter", name: CHAIN, rules });
        // To pods of this node from elsewhere, and from the node itself.
        for (const from of ["FORWARD", "OUTPUT"] as const) {
          want(tables.jumps, {
            family: 4,
            table: "filter",
            from,
            to: CHAIN,
            matches: [],
            first: true,
          });
        }
      },
    });
    reconcile({
      name: "pod",
      inputs: [input(pods, ({ metadata }) => [`${metadata.namespace}/${metadata.name}`])],
      units: () => pods.keys(),
      desired(name, { want }) {
        const pod = pods.get(name);
        if (pod === undefined) return;
        for (const entry of pod.status.podIPs.filter((ip) => !ip.includes(":"))) {
          if (isWalled(pod)) want(tables.ipsetMembers, { set: WALLED, entry });
          if (friends.includes(pod.metadata.name)) {
            want(tables.ipsetMembers, { set: FRIENDS, entry });
          }
        }
      },
    });
  },
};

function isWalled({ metadata }: Pod): boolean {
  return metadata.labels["wall"] === "true";
}

export default plugin;
