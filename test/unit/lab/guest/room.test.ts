import { expect, test } from "bun:test";
import { join } from "node:path";
import { healthPortOf } from "../../../lab/guest/agents.ts";
import { placesOf } from "../../../lab/guest/control-plane.ts";
import { decode } from "../../../lab/guest/control.ts";
import { behind } from "../../../lab/guest/wait.ts";

const GUEST = join(import.meta.dir, "../../../lab/guest");
const bytes = (text: string) => new TextEncoder().encode(text);

test("a request is read when all its words are there, counted in bytes", () => {
  const full = "3\n5\napply0\n4\nä\nb";
  expect(decode(bytes(full))).toEqual(["apply", "", "ä\nb"]);
  for (let length = 0; length < bytes(full).length; length++) {
    expect(decode(bytes(full).subarray(0, length))).toBeUndefined();
  }
});

test("an agent is behind until each kind it watches has reached the revision", () => {
  expect(behind({ applied: { services: "9", nodes: "10" } }, 9n)).toBeUndefined();
  expect(behind({ applied: { services: "9", nodes: "8" } }, 9n)).toBe("nodes at 8");
  expect(behind({ applied: { services: "" } }, 9n)).toBe("services at nothing");
  expect(behind({}, 9n)).toBe("its /status does not say");
  expect(behind(undefined, 9n)).toBe("its /status does not say");
});

test("the health port is the last one that the flags give", () => {
  expect(healthPortOf([])).toBe(20244);
  expect(healthPortOf(["--health-port=1", "--x", "--health-port", "2"])).toBe(2);
});

test("the API server's places are those of Service kubernetes, by slices or Endpoints", () => {
  const metadata = { name: "kubernetes", namespace: "default" };
  const slice = {
    kind: "EndpointSlice",
    metadata: {
      name: "x",
      namespace: "default",
      labels: { "kubernetes.io/service-name": "kubernetes" },
    },
    endpoints: [{ addresses: ["10.0.0.1"] }],
    ports: [{ port: 6443 }],
  };
  const endpoints = {
    kind: "Endpoints",
    metadata,
    subsets: [{ addresses: [{ ip: "10.0.0.2" }], ports: [{ port: 443 }] }],
  };
  expect(placesOf(slice)).toEqual([{ address: "10.0.0.1", port: 6443 }]);
  expect(placesOf(endpoints)).toEqual([{ address: "10.0.0.2", port: 443 }]);
  expect(placesOf({ ...endpoints, metadata: { ...metadata, namespace: "shop" } })).toEqual([]);
});

test("the LAB command is right by Perl's strict rules, which it does without for its speed", () => {
  const { exitCode, stderr } = Bun.spawnSync([
    "perl",
    "-Mstrict",
    "-Mwarnings",
    "-c",
    join(GUEST, "lab"),
  ]);
  expect([exitCode, stderr.toString().split("\n").length]).toEqual([0, 2]);
});
