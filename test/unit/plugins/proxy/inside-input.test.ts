/** Marks of clients inside over time: who has one keeps it, and a change of one Service has that one looked at. */

import { expect, test } from "bun:test";
import { testLogger } from "../../../../src/kernel/observe/log.ts";
import { storeInput } from "../../../../src/kernel/runtime/store-input.ts";
import { insideInput } from "../../../../src/plugins/proxy/inside-input.ts";
import { fnv1a32 } from "../../../../src/plugins/proxy/marks.ts";
import { testCluster } from "../../../support/cluster.ts";
import { service, type ServiceChanges } from "../../../support/objects.ts";
import { ipv4 } from "./semantics/stacks.ts";

const VIP = "147.160.180.44";
const ranges = { strict: false, cluster: [], external: [], loadBalancer: [] } as const;

/** A Service under a Local policy at one port of the address; two of them have marks of one hash. */
function local(name: string, created: number, changes: ServiceChanges = {}) {
  return service(`default/${name}`, {
    metadata: { creationTimestamp: `2026-01-0${created}T00:00:00Z` },
    externalTrafficPolicy: "Local",
    externalIPs: [VIP],
    ...changes,
  });
}
const older = (changes: ServiceChanges = {}) =>
  local("older", 1, { ports: [{ port: 8080 }], ...changes });
const younger = (changes: ServiceChanges = {}) =>
  local("younger", 2, { ports: [{ protocol: "UDP", port: 80 }], ...changes });

function world(...services: ReturnType<typeof service>[]) {
  const cluster = testCluster();
  cluster.put("services", ...services);
  cluster.sync();
  const store = cluster.stores.services;
  const looked: string[] = [];
  const woken: string[] = [];
  const inside = insideInput({
    services: store,
    shared: {
      name: "node",
      value: { context: ipv4.context({ ranges }) },
      synced: true,
      subscribe: () => () => {},
    },
    input: (from, units) => storeInput(from, units, testLogger()),
    rank(unit) {
      looked.push(unit);
      return `${store.get(unit)?.metadata.creationTimestamp ?? "9"} ${unit}`;
    },
  });
  inside.subscribe((units) => void woken.push(...units));
  return {
    put: (...changed: ReturnType<typeof service>[]) => cluster.put("services", ...changed),
    remove: (key: string) => cluster.remove("services", key),
    /** The lower bits of the marks of a Service. */
    marks: (unit: string) =>
      [...inside.of(`default/${unit}`).values()].map(({ mark }) => mark & 0x3fff),
    values: () => inside.values().map(({ protocol, port }) => `${protocol} ${port}`),
    /** What was looked at, and what was woken, since the last call. */
    taken: () => ({ looked: looked.splice(0), woken: woken.splice(0) }),
  };
}

test("of Services that are there at the start the older one has the mark that two want", () => {
  const { marks } = world(younger(), older());
  expect([marks("older"), marks("younger")]).toEqual([[15688], [842]]);
});

test("a mark stays with who has it, when an older Service comes to want it", () => {
  const { put, marks, taken } = world(younger(), older({ externalTrafficPolicy: "Cluster" }));
  expect(marks("younger")).toEqual([15688]);
  taken();
  put(older());
  expect(marks("younger")).toEqual([15688]);
  // The next that its key leads to.
  expect(marks("older")).toEqual([fnv1a32(`${VIP}-tcp-8080-1`) & 0x3fff]);
  expect(taken().woken).toEqual(["default/older"]);
});

test("a change of one Service has that one looked at, and none of the others", () => {
  const many = Array.from(
    { length: 50 },
    (_, i) => local(`s${i}`, 3, { ports: [{ port: 1000 + i }] }),
  );
  const { put, remove, taken } = world(...many);
  taken();
  put(local("s7", 3, { ports: [{ port: 5000 }] }));
  expect(taken()).toEqual({ looked: ["default/s7"], woken: ["default/s7"] });
  put(local("s8", 3, { ports: [{ port: 1008 }], sessionAffinity: "ClientIP" }));
  expect(taken()).toEqual({ looked: ["default/s8"], woken: [] });
  remove("default/s9");
  expect(taken()).toEqual({ looked: ["default/s9"], woken: ["default/s9"] });
});

test("what is listed does not tell who came first", () => {
  const [first, second] = [world(older()), world(local("other", 3))];
  first.put(local("other", 3));
  second.put(older());
  expect(first.values()).toEqual(second.values());
  expect(first.values()).toHaveLength(2);
});

test("an address and port that two Services want keeps its mark until both let go", () => {
  const { put, remove, marks, values } = world(
    older(),
    local("twin", 3, { ports: [{ port: 8080 }] }),
  );
  expect(marks("twin")).toEqual([15688]);
  remove("default/older");
  put(younger());
  expect([marks("older"), marks("twin"), marks("younger")]).toEqual([[], [15688], [842]]);
  expect(values()).toHaveLength(2);
});
