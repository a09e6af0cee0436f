import { expect, test } from "bun:test";
import { createStores } from "../../../../src/kernel/cluster/gate.ts";
import { createStore, type Service, type StoreChange } from "../../../../src/kernel/cluster/mod.ts";
import { trim } from "../../../../src/kernel/cluster/trim.ts";

function service(name: string, version: number, clusterIP = "10.0.0.1"): Service {
  const trimmed = trim("services", {
    metadata: { name, namespace: "ns", uid: `uid-${name}`, resourceVersion: String(version) },
    spec: { clusterIP, ports: [{ port: 80 }] },
  });
  if (trimmed === undefined) throw new Error("No service");
  return trimmed;
}

function store() {
  const made = createStore<Service>("services", { freeze: true });
  const batches: (readonly StoreChange<Service>[])[] = [];
  const unsubscribe = made.subscribe((changes) => void batches.push(changes));
  return { store: made, batches, unsubscribe };
}

test("a store is empty and not synced until the first list is in", () => {
  const { store: made, batches } = store();
  expect([made.synced, made.resourceVersion, made.size]).toEqual([false, "", 0]);
  made.replace([], "5");
  expect([made.synced, made.resourceVersion, made.size]).toEqual([true, "5", 0]);
  expect(batches).toEqual([[]]);
});

test("replacing tells only what changed, and keeps what did not", () => {
  const { store: made, batches } = store();
  const [a, b, c] = [service("a", 1), service("b", 1), service("c", 1)];
  made.replace([a, b, c], "1");
  batches.length = 0;
  const changed = service("b", 2, "10.0.0.2");
  const added = service("d", 2);
  made.replace([service("a", 1), changed, added], "2");
  expect(batches).toEqual([[
    { key: "ns/b", previous: b, current: changed },
    { key: "ns/d", current: added },
    { key: "ns/c", previous: c },
  ]]);
  expect(made.get("ns/a")).toBe(a);
});

test("a new version of an object that says the same keeps the old object and wakes nobody", () => {
  const { store: made, batches } = store();
  const before = service("a", 1);
  made.replace([before], "1");
  batches.length = 0;
  made.update([["ns/a", service("a", 2)]], "2");
  made.replace([service("a", 3)], "2");
  expect(made.get("ns/a")).toBe(before);
  expect(batches).toEqual([[]]);
});

test("an object that was made anew under its name is a change even when it says the same", () => {
  const { store: made, batches } = store();
  made.replace([service("a", 1)], "1");
  batches.length = 0;
  const { metadata, ...rest } = service("a", 1);
  made.update([["ns/a", { ...rest, metadata: { ...metadata, uid: "other" } }]], "2");
  expect(batches[0]).toHaveLength(1);
});

test("events of one batch on one object are one change", () => {
  const { store: made, batches } = store();
  const before = service("a", 1);
  made.replace([before], "1");
  batches.length = 0;
  const last = service("a", 3, "10.0.0.3");
  made.update([
    ["ns/a", service("a", 2, "10.0.0.2")],
    ["ns/a", last],
    ["ns/b", service("b", 3)],
    ["ns/b", undefined],
    ["ns/gone", undefined],
  ], "4");
  expect(batches).toEqual([[{ key: "ns/a", previous: before, current: last }]]);
});

test("subscribers see the store after the whole batch, and indexes with it", () => {
  const { store: made } = store();
  made.addIndex("ip", ({ spec }) => spec.clusterIPs);
  const seen: (readonly [number, number])[] = [];
  made.subscribe(() => void seen.push([made.size, made.by("ip", "10.0.0.1").length]));
  made.replace([service("a", 1), service("b", 1)], "1");
  made.update([["ns/a", undefined], ["ns/c", service("c", 2, "10.0.0.2")]], "2");
  expect(seen).toEqual([[2, 2], [2, 1]]);
});

test("an index that is added late holds what is there, and follows changes", () => {
  const { store: made } = store();
  made.replace([service("a", 1), service("b", 1, "10.0.0.2")], "1");
  made.addIndex("ip", ({ spec }) => spec.clusterIPs);
  made.addIndex("ip", () => ["another function of the same name is ignored"]);
  const names = (ip: string) => made.by("ip", ip).map(({ metadata }) => metadata.name);
  expect([names("10.0.0.1"), names("10.0.0.2"), names("10.0.0.3")]).toEqual([["a"], ["b"], []]);
  made.update([["ns/a", service("a", 2, "10.0.0.2")]], "2");
  expect([names("10.0.0.1"), names("10.0.0.2").toSorted()]).toEqual([[], ["a", "b"]]);
  made.replace([], "3");
  expect(names("10.0.0.2")).toEqual([]);
});

test("what an index gave stays as it was when the store changes", () => {
  const { store: made } = store();
  made.addIndex("ip", ({ spec }) => spec.clusterIPs);
  made.replace([service("a", 1)], "1");
  const before = made.by("ip", "10.0.0.1");
  made.update([["ns/a", undefined]], "2");
  expect(before).toHaveLength(1);
});

test("an index that nobody added is an error that names it", () => {
  expect(() => store().store.by("node", "x")).toThrow(
    'Store of services has no index "node": call addIndex("node", …) before by()',
  );
});

test("objects are frozen all the way down", () => {
  const { store: made } = store();
  made.replace([service("a", 1)], "1");
  const object = made.get("ns/a") as { spec: { ports: { port: number }[] } } | undefined;
  expect(() => {
    if (object?.spec.ports[0] !== undefined) object.spec.ports[0].port = 81;
  }).toThrow(TypeError);
});

test("a listener that has left is not called, and one that throws is told of", () => {
  const errors: unknown[] = [];
  const made = createStore<Service>("services", { onListenerError: (e) => void errors.push(e) });
  const calls: string[] = [];
  const leave = made.subscribe(() => void calls.push("left"));
  made.subscribe(() => {
    throw new Error("Mine");
  });
  made.subscribe(() => void calls.push("stayed"));
  leave();
  made.replace([], "1");
  expect(calls).toEqual(["stayed"]);
  expect(errors).toEqual([new Error("Mine")]);
});

test("a store is closed until its kind is asked for", () => {
  const { stores, writable, open } = createStores();
  writable.services.replace([service("a", 1)], "1");
  const message = "Store of services is not filled, for no plugin asked for it";
  expect(() => stores.services.synced).toThrow(message);
  expect(() => stores.services.values()).toThrow(message);
  expect(() => stores.services.subscribe(() => {})).toThrow(message);
  open("services");
  expect(stores.services.size).toBe(1);
});

test("the order of events on different objects never matters", () => {
  const events = ["a", "b", "c", "d"].flatMap((name, index): [string, Service | undefined][][] => [
    [[`ns/${name}`, service(name, 2, `10.0.1.${index}`)]],
    [[`ns/${name}`, index % 2 === 0 ? undefined : service(name, 3, `10.0.2.${index}`)]],
  ]);
  const end = (order: (name: string) => number) => {
    const { store: made } = store();
    made.replace(["a", "b", "c", "d"].map((name) => service(name, 1)), "1");
    const sorted = events.map((batch, index) => ({ batch, index })).toSorted((x, y) =>
      order(x.batch[0]?.[0] ?? "") - order(y.batch[0]?.[0] ?? "") || x.index - y.index
    );
    for (const { batch } of sorted) made.update(batch, "9");
    return [...made.values()].map(({ metadata, spec }) => `${metadata.name} ${spec.clusterIP}`)
      .toSorted();
  };
  const code = (name: string) => name.charCodeAt(3);
  expect(end((name) => code(name))).toEqual(["b 10.0.2.1", "d 10.0.2.3"]);
  expect(end((name) => -code(name))).toEqual(end((name) => code(name)));
  expect(end(() => 0)).toEqual(end((name) => code(name)));
});
