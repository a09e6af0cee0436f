import { describe, expect, test } from "bun:test";
import { ownNode } from "../../../../src/plugins/router/own-node.ts";
import { routerNode } from "../../../support/router-world.ts";

const OTHER = routerNode("n2", ["10.0.0.2"]);
const OWN = routerNode("n1", ["10.0.0.1"], {}, ["10.244.1.0/24"]);
const BOTH = { enableIpv4: true, enableIpv6: true };

describe("the own node", () => {
  test("is unknown with a reason before it was seen with an address", () => {
    const look = ownNode("n1", BOTH);
    expect(look([OTHER])).toEqual({
      nodes: [OTHER],
      problem:
        'Node "n1" not found; if that is not this node\'s name, correct --hostname-override, or NODE_NAME, ' +
        "or the host's name",
    });
    expect(look([routerNode("n1", [])]).problem).toStartWith('Node "n1" has no address');
    expect(look([routerNode("n1", [])]).own).toBeUndefined();
    expect(ownNode("n1", { enableIpv4: false, enableIpv6: true })([OWN]).own).toBeUndefined();
  });

  test("stays as it was last seen with an address, and is told of", () => {
    const look = ownNode("n1", BOTH);
    expect(look([OWN, OTHER])).toEqual({ nodes: [OWN, OTHER], own: OWN });
    const gone = look([OTHER]);
    expect(gone.own).toBe(OWN);
    expect(gone.nodes).toEqual([OTHER, OWN]);
    expect(gone.problem).toStartWith(
      'Node "n1" not found; what was last known of it stays in use; ',
    );
    const bare = look([routerNode("n1", []), OTHER]);
    expect(bare.own).toBe(OWN);
    expect(bare.nodes).toEqual([OTHER, OWN]);
    expect(bare.problem).toStartWith('Node "n1" has no address of an enabled family');
    const moved = routerNode("n1", ["10.0.0.9"]);
    expect(look([moved])).toEqual({ nodes: [moved], own: moved });
  });
});
