import { describe, expect, test } from "bun:test";
import { nodeRole } from "../../../../src/plugins/router/role.ts";
import { routerNode } from "../../../support/router-world.ts";

const MESH = { nodesFullMesh: true, clusterAsn: 0 };
const OWN_ASN = { nodesFullMesh: false, clusterAsn: 64999 };

function role(annotations: Readonly<Record<string, string>>, options = MESH) {
  const named = Object.entries(annotations).map(([k, v]) => [`kube-router.io/${k}`, v]);
  return nodeRole(routerNode("n1", ["10.0.0.1"], Object.fromEntries(named)), options);
}

test("a node without annotations is a plain one of the mesh", () => {
  expect(role({})).toEqual({
    asn: 64512,
    reflection: "none",
    communities: [],
    importReject: [],
    problems: [],
  });
});

describe("the AS number", () => {
  test("is the cluster's in a full mesh, whatever the annotation says", () => {
    expect(role({ "node.asn": "100" }).asn).toBe(64512);
    expect(role({ "node.asn": "100" }, { nodesFullMesh: true, clusterAsn: 64999 }).asn).toBe(64999);
  });

  test("is the annotation's otherwise, in any base", () => {
    expect(role({ "node.asn": "100" }, OWN_ASN).asn).toBe(100);
    expect(role({ "node.asn": "0x64" }, OWN_ASN).asn).toBe(100);
  });

  test("that is missing or wrong turns BGP off with a reason", () => {
    for (
      const annotations of [{}, { "node.asn": "x" }, { "node.asn": "0" }, { "node.asn": "1.10" }]
    ) {
      const { asn, problems } = role(annotations, OWN_ASN);
      expect(asn).toBeUndefined();
      expect(problems.join()).toContain("kube-router.io/node.asn is ");
      expect(problems.join()).toContain("BGP is off here");
    }
  });
});

describe("reflection", () => {
  const cases: readonly (readonly [
    annotations: Record<string, string>,
    reflection: string,
    clusterId: string | undefined,
  ])[] = [
    [{ "rr.server": "42" }, "server", "0.0.0.42"],
    [{ "rr.server": "0x0a000001" }, "server", "10.0.0.1"],
    [{ "rr.server": "10.0.0.1" }, "server", "10.0.0.1"],
    [{ "rr.client": "42" }, "client", "0.0.0.42"],
    [{ "rr.client": "10.0.0.1" }, "client", "10.0.0.1"],
    [{ "rr.server": "42", "rr.client": "7" }, "server", "0.0.0.42"],
  ];
  for (const [annotations, reflection, clusterId] of cases) {
    test(`${JSON.stringify(annotations)} makes a ${reflection} of cluster ${clusterId}`, () => {
      const found = role(annotations);
      expect([found.reflection, found.clusterId, found.problems])
        .toEqual([reflection as "server", clusterId, []]);
    });
  }

  test("keeps its part where the cluster id is none, with the router id in its stead", () => {
    for (const text of ["hello world", "", "fd00::1", "4294967296"]) {
      const found = role({ "rr.server": text });
      expect([found.reflection, found.clusterId]).toEqual(["server", undefined]);
      expect(found.problems.join()).toContain("the router id stands in");
    }
  });
});

describe("path prepending", () => {
  test("needs both annotations", () => {
    expect(role({ "path-prepend.as": "65100", "path-prepend.repeat-n": "5" }).prepend)
      .toEqual({ asn: 65100, times: 5 });
    expect(role({ "path-prepend.as": "0xfe4c", "path-prepend.repeat-n": "255" }).prepend)
      .toEqual({ asn: 65100, times: 255 });
    expect(role({ "path-prepend.repeat-n": "5" })).toMatchObject({ problems: [] });
    const alone = role({ "path-prepend.as": "65100" });
    expect(alone.prepend).toBeUndefined();
    expect(alone.problems.join()).toMatch(/path-prepend\.as.*path-prepend\.repeat-n/);
  });

  test("with a wrong value prepends nothing and says so; 0 times is nothing as well", () => {
    for (
      const [asn = "", times = ""] of [["x", "5"], ["0", "5"], ["65100", "256"], ["65100", "x"]]
    ) {
      const found = role({ "path-prepend.as": asn, "path-prepend.repeat-n": times });
      expect([found.prepend, found.problems.length]).toEqual([undefined, 1]);
    }
    expect(role({ "path-prepend.as": "65100", "path-prepend.repeat-n": "0" }))
      .toMatchObject({ problems: [] });
  });
});

test("communities that are none are left out one by one", () => {
  const found = role({ "node.bgp.communities": "65000:1, no-export,0xff,65000:1," });
  expect(found.communities).toEqual([65000 * 65536 + 1, 0xffffff01]);
  expect(found.problems).toHaveLength(1);
  expect(found.problems[0]).toContain('"0xff"');
});

test("refused networks may be of both families, and one that is none costs only itself", () => {
  const found = role({ "node.bgp.customimportreject": "10.5.1.7/16, fd00::/8,bad,10.5.0.0/16" });
  expect(found.importReject).toEqual(["10.5.0.0/16", "fd00::/8"]);
  expect(found.problems).toHaveLength(1);
});

test("addresses to listen on may be IPv6 and have blanks around them", () => {
  expect(role({ "bgp-local-addresses": "10.0.0.1, FD00::1" }).listen).toEqual([
    "10.0.0.1",
    "fd00::1",
  ]);
  const bad = role({ "bgp-local-addresses": "here" });
  expect(bad.listen).toBeUndefined();
  expect(bad.problems.join()).toContain('"here"');
});
