import { expect, test } from "bun:test";
import { readTopology } from "../../../lab/topology/topology.ts";

const NODE = { name: "n1", addresses: ["10.0.0.1/24"] };
const read = (value: unknown) => readTopology(value, () => {});

test("an empty topology has no hosts, and the lab routes", () => {
  expect(read(null)).toEqual({
    flags: [],
    podRoutes: "lab",
    nodes: [],
    routers: [],
    clients: [],
    manifests: [],
    apiServer: undefined,
    needs: undefined,
  });
});

test("agents run on nodes unless the node says otherwise, and a gateway may be one or several", () => {
  const client = { name: "c", addresses: ["10.0.0.9/24"] };
  const topology = read({
    nodes: [NODE, { name: "n2", addresses: ["10.0.0.2/24"], agent: false }],
    clients: [{ ...client, gateway: "10.0.0.1" }, {
      name: "d",
      addresses: ["10.0.0.8/24"],
      gateway: ["10.0.0.1", "fd00::1"],
    }],
  });
  expect(topology.nodes.map(({ agent }) => agent)).toEqual([true, false]);
  expect(topology.clients.map(({ gateways }) => gateways))
    .toEqual([["10.0.0.1"], ["10.0.0.1", "fd00::1"]]);
});

test("an unknown key is named and ignored", () => {
  const warnings: string[] = [];
  readTopology({ node: [], nodes: [{ ...NODE, adresses: [] }] }, (text) => warnings.push(text));
  expect(warnings.map((text) => text.split(";")[0]))
    .toEqual([
      'topology: unknown key "node" is ignored',
      'nodes[0]: unknown key "adresses" is ignored',
    ]);
});

const WRONG: readonly (readonly [unknown, string])[] = [
  [[], "topology is not an object"],
  [{ podRoutes: "both" }, 'podRoutes: "both" is neither "lab" nor "agent"'],
  [{ nodes: {} }, "nodes is not a list"],
  [{ nodes: [{ addresses: ["10.0.0.1/24"] }] }, "nodes[0].name"],
  [{ nodes: [{ name: "n1" }] }, "nodes[0].addresses: at least one is needed"],
  [{ nodes: [{ ...NODE, addresses: ["10.0.0.1/24", "10.0.1.1/24"] }] }, "more than one of IPv4"],
  [{ nodes: [NODE, { ...NODE, name: "n2" }] }, 'Address 10.0.0.1 is given to "n1" and "n2"'],
  [{ routers: [{ ...NODE, daemon: "quagga" }] }, '"quagga" is none of bird, frr, gobgp'],
  [{ routers: [{ ...NODE, daemon: "bird" }] }, "routers[0].config: a router with a daemon needs"],
  [{ clients: [{ ...NODE, gateway: "up" }] }, 'clients[0].gateway: "up" is not an address'],
  [{ needs: ["magic"] }, 'needs: "magic" is none of'],
  [{ nodes: [NODE], apiServer: { node: "n9" } }, 'apiServer.node: there is no node "n9"'],
];

for (const [value, reason] of WRONG) {
  test(`a mistake is named with its place: ${reason}`, () => {
    expect(() => read(value)).toThrow(reason);
  });
}
