import { describe, expect, test } from "bun:test";
import type { EndpointSlice } from "../../../../src/kernel/plugin.ts";
import { chooseEndpoints, type EndpointChoice } from "../../../../src/plugins/proxy/endpoints.ts";
import { type EndpointLike, slice, type SliceChanges } from "../../../support/objects.ts";
import { random, seeds } from "../../../support/random.ts";

/** Addresses and ports that are chosen, "address:port". */
function chosen(
  slices: readonly EndpointSlice[],
  choice: Partial<EndpointChoice> = {},
): readonly string[] {
  return chooseEndpoints(slices, {
    family: 4,
    portName: "http",
    protocol: "tcp",
    scope: "cluster",
    publishNotReady: false,
    ...choice,
  }).map(({ address, port }) => `${address}:${port}`);
}

const one = (endpoints: readonly EndpointLike[], changes?: SliceChanges) => [
  slice("default/web-1", endpoints, changes),
];

/** An endpoint whose conditions are letters: r(eady), s(erving), t(erminating); capital: false; left out: nil. */
function endpoint(address: string, conditions: string, nodeName?: string): EndpointLike {
  const value = (letter: string) =>
    conditions.includes(letter)
      ? true
      : conditions.includes(letter.toUpperCase())
      ? false
      : undefined;
  const [ready, serving, terminating] = [value("r"), value("s"), value("t")];
  return {
    addresses: [address],
    conditions: {
      ...(ready === undefined ? {} : { ready }),
      ...(serving === undefined ? {} : { serving }),
      ...(terminating === undefined ? {} : { terminating }),
    },
    ...(nodeName === undefined ? {} : { nodeName }),
  };
}

describe("conditions (S3, S4)", () => {
  // Alone: whether it is used when nothing else is there. Beside: whether it is used beside one that is ready.
  const table: readonly (readonly [conditions: string, alone: boolean, beside: boolean])[] = [
    ["", true, true],
    ["r", true, true],
    ["rs", true, true],
    ["rsT", true, true],
    ["T", true, true],
    ["S", true, true],
    ["R", false, false],
    ["Rs", false, false],
    ["RsT", false, false],
    ["RS", false, false],
    ["RSt", false, false],
    ["Rst", true, false],
    ["Rt", true, false],
    ["rst", true, false],
    ["st", true, false],
    ["t", true, false],
    ["rSt", false, false],
    ["St", false, false],
  ];
  for (const [conditions, alone, beside] of table) {
    test(
      `"${conditions}" is ${alone ? "used" : "not used"} alone, ${
        beside ? "used" : "not used"
      } beside a ready one`,
      () => {
        const tried = endpoint("10.0.0.1", conditions);
        expect(chosen(one([tried]))).toEqual(alone ? ["10.0.0.1:8080"] : []);
        expect(chosen(one([tried, "10.0.0.2"]))).toEqual([
          ...(beside ? ["10.0.0.1:8080"] : []),
          "10.0.0.2:8080",
        ]);
      },
    );
  }

  test("a Service that publishes what is not ready counts a terminating endpoint as ready if it says so", () => {
    const slices = one([endpoint("10.0.0.1", "rst"), endpoint("10.0.0.2", "r")]);
    expect(chosen(slices, { publishNotReady: true })).toHaveLength(2);
    expect(chosen(slices)).toEqual(["10.0.0.2:8080"]);
  });

  test("the choice is made within the scope: no ready endpoint elsewhere keeps a draining one here from its use", () => {
    const slices = one([
      endpoint("10.0.0.1", "r", "node2"),
      endpoint("10.0.0.2", "Rst", "node1"),
      endpoint("10.0.0.3", "R", "node1"),
      endpoint("10.0.0.4", "r"),
    ]);
    expect(chosen(slices, { scope: { node: "node1" } })).toEqual(["10.0.0.2:8080"]);
    expect(chosen(slices, { scope: { node: "node3" } })).toEqual([]);
    expect(chosen(slices)).toEqual(["10.0.0.1:8080", "10.0.0.4:8080"]);
  });
});

describe("slices (S1, S2, S31, S32)", () => {
  test("all of a Service's slices are merged, an endpoint in two of them counts once, and ready wins", () => {
    const slices = [
      slice("default/web-1", [endpoint("10.0.0.1", "Rst"), "10.0.0.2"]),
      slice("default/web-2", ["10.0.0.1", "10.0.0.3", "10.0.0.3"]),
      slice("default/web-3", []),
    ];
    const expected = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];
    for (const seed of seeds(6)) {
      expect(chosen(random(seed).shuffle(slices))).toEqual(expected);
    }
  });

  test("only slices of the family are used, and never those of names", () => {
    const slices = [
      slice("default/web-1", ["10.0.0.1"]),
      slice("default/web-2", ["fd00::1"], { addressType: "IPv6" }),
      slice("default/web-3", ["web.example.com"], { addressType: "FQDN" }),
      slice("default/web-4", ["10.0.0.9"], { addressType: "FQDN" }),
    ];
    expect(chosen(slices)).toEqual(["10.0.0.1:8080"]);
    expect(chosen(slices, { family: 6 })).toEqual(["fd00::1:8080"]);
  });

  test("ports come from the slice, by name and protocol, and may differ between slices", () => {
    const slices = [
      slice("default/web-1", ["10.0.0.1"], { ports: [{ port: 80 }, { name: "tls", port: 443 }] }),
      slice("default/web-2", ["10.0.0.1"], {
        ports: [{ port: 8080 }, { protocol: "UDP", port: 1 }],
      }),
    ];
    expect(chosen(slices)).toEqual(["10.0.0.1:80", "10.0.0.1:8080"]);
    expect(chosen(slices, { portName: "tls" })).toEqual(["10.0.0.1:443"]);
    expect(chosen(slices, { protocol: "udp" })).toEqual(["10.0.0.1:1"]);
    expect(chosen(slices, { portName: "" })).toEqual([]);
  });

  test("a port without a name serves a Service port without a name", () => {
    expect(chosen(one(["10.0.0.1"], { ports: [{ name: "" }] }), { portName: "" })).toHaveLength(1);
  });

  test("a port without a number, and a slice without ports, serve nothing", () => {
    const { port: _port, ...nameless } = slice("default/web-1", []).ports[0] ?? { name: "http" };
    const numberless = { ...slice("default/web-1", ["10.0.0.1"]), ports: [nameless] };
    expect(chosen([numberless as EndpointSlice])).toEqual([]);
    expect(chosen(one(["10.0.0.1"], { ports: [] }))).toEqual([]);
  });

  test("of an endpoint's addresses the first is used, and an endpoint without any is passed over", () => {
    const addresses = [{ addresses: ["10.0.0.1", "10.0.0.2"] }, { addresses: [] }];
    expect(chosen(one(addresses))).toEqual(["10.0.0.1:8080"]);
  });
});

describe("odd addresses (S33)", () => {
  test("are made canonical, so that two spellings are one endpoint", () => {
    expect(chosen(one(["010.0.0.001", "10.0.0.1"]))).toEqual(["10.0.0.1:8080"]);
    const six = one(["FD00:0:0::1", "fd00::1"], { addressType: "IPv6" });
    expect(chosen(six, { family: 6 })).toEqual(["fd00::1:8080"]);
  });

  test("are passed over where they are none, or are of the other family", () => {
    expect(chosen(one(["", "web", "10.0.0.256", "fe80::1%eth0", "fd00::1", "10.0.0.1"])))
      .toEqual(["10.0.0.1:8080"]);
    const six = one(["::ffff:10.0.0.1", "10.0.0.2", "fd00::1"], { addressType: "IPv6" });
    expect(chosen(six, { family: 6 })).toEqual(["fd00::1:8080"]);
  });
});
