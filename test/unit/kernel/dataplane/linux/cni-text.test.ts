import { describe, expect, test } from "bun:test";
import { changeCni, readCni } from "../../../../../src/kernel/dataplane/linux/cni-text.ts";

const CONF = `{
  "name":"mynet","type" : "bridge",
	"bridge": "kube-bridge", "isDefaultGateway":true,
  "ipam": {
    "type": "host-local"
  },
  "unknown": [1, {"a": "}]\\"{"}, null, 1.50e3]
}
`;
const LIST = `{
   "cniVersion":"0.3.0",
   "name":"mynet",
   "plugins":[
      {
         "name":"kubernetes",
         "type":"bridge",
         "bridge":"kube-bridge",
         "isDefaultGateway":true,
         "hairpinMode":true,
         "ipam":{
            "type":"host-local",
            "ranges": [
               [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]
            ]
         }
      },
      {"type":"portmap","capabilities":{"snat":true,"portMappings":true}}
   ]
}`;
const add = (text: string, ...cidrs: readonly string[]) =>
  changeCni(text, { add: cidrs, remove: [] });

describe("one plugin", () => {
  test("gets ranges where it has none, and all else stays byte for byte", () => {
    const changed = add(CONF, "10.244.1.0/24");
    expect(changed).toBe(
      CONF.replace(
        `"host-local"\n  }`,
        `"host-local",\n    "ranges": [[{"subnet": "10.244.1.0/24"}]]\n  }`,
      ),
    );
    expect(readCni(changed)).toEqual({ subnets: ["10.244.1.0/24"], ranges: true });
    expect(JSON.parse(changed)).toEqual({
      ...JSON.parse(CONF),
      ipam: { type: "host-local", ranges: [[{ subnet: "10.244.1.0/24" }]] },
    });
  });

  test("is unchanged where it has them already, in whatever spelling", () => {
    const spelled = add(CONF, "fd00::/64").replace("fd00::/64", "FD00:0:0:0::7/64");
    expect(add(spelled, "fd00::/64")).toBe(spelled);
    const legacy = CONF.replace(`"host-local"`, `"host-local", "subnet": "10.244.1.9/24"`);
    expect(add(legacy, "10.244.1.0/24")).toBe(legacy);
    expect(readCni(legacy).subnets).toEqual(["10.244.1.0/24"]);
  });
});

describe("a list", () => {
  test("gets ranges in its bridge plugin, each on a line of its own where the others are", () => {
    expect(add(LIST, "10.244.1.0/24", "fd00::/64")).toBe(
      LIST.replace(
        `"gateway": "10.1.0.1"}]`,
        `"gateway": "10.1.0.1"}],
               [{"subnet": "10.244.1.0/24"}],
               [{"subnet": "fd00::/64"}]`,
      ),
    );
  });

  test("loses what is taken out, and is as it was before", () => {
    const with2 = add(LIST, "10.244.1.0/24", "fd00::/64");
    expect(changeCni(with2, { add: [], remove: ["fd00::/64"] })).toBe(add(LIST, "10.244.1.0/24"));
    expect(changeCni(with2, { add: [], remove: ["10.244.1.0/24", "fd00::/64"] })).toBe(LIST);
    // With a gateway it is somebody else's.
    expect(changeCni(LIST, { add: [], remove: ["10.1.0.0/24"] })).toBe(LIST);
  });
});

describe("the MTU", () => {
  const mtu = (text: string, value: number | null) =>
    changeCni(text, { add: [], remove: [], mtu: value });

  test("is set, replaced and taken out in the bridge plugin", () => {
    for (const text of [CONF, LIST]) {
      const set = mtu(text, 1480);
      expect(readCni(set).mtu).toBe(1480);
      expect(mtu(set, 1400)).toBe(set.replace("1480", "1400"));
      expect(mtu(set, null)).toBe(text);
      expect(mtu(text, null)).toBe(text);
    }
  });
});

test("a file that cannot be used says why", () => {
  const cases: readonly (readonly [text: string, reason: string])[] = [
    ["{", "it is no JSON"],
    ["", "it is no JSON"],
    ["{}", 'it has no "type"'],
    ["[]", 'it has no "type"'],
    [`{"plugins": []}`, 'it lists no plugin of type "bridge"'],
    [`{"plugins": [{"type": "ptp"}]}`, 'it lists no plugin of type "bridge"'],
    [`{"type": "bridge"}`, 'its bridge plugin has no "ipam"'],
    [`{"type": "bridge", "ipam": []}`, 'its bridge plugin has no "ipam"'],
  ];
  for (const [text, reason] of cases) expect(() => readCni(text)).toThrow(reason);
});

test("a list of ranges that was added goes again, and one of others stays", () => {
  const text = CONF.replaceAll("\n", "\r\n");
  const changed = add(text, "10.244.1.0/24");
  const change = { add: [], remove: ["10.244.1.0/24"] };
  expect(changeCni(changed, { ...change, noRanges: true })).toBe(text);
  expect(readCni(changeCni(changed, change))).toEqual({ subnets: [], ranges: true });
  const kept = add(changed, "10.244.2.0/24");
  expect(readCni(changeCni(kept, { ...change, noRanges: true })).subnets).toEqual([
    "10.244.2.0/24",
  ]);
});

test("odd but legal files are read", () => {
  expect(
    readCni(`{"type":"bridge","mtu":1,"mtu":2,"ipam":{"ranges":[[],[{}],null,[{"subnet":"x"}]]}}`),
  )
    .toEqual({ subnets: [], ranges: true, mtu: 2 });
  const empty = `{"type":"bridge","ipam":{}}`;
  expect(add(empty, "10.0.0.0/24"))
    .toBe(`{"type":"bridge","ipam":{"ranges": [[{"subnet": "10.0.0.0/24"}]]}}`);
  expect(add(`{"type":"bridge","ipam":{"ranges":null}}`, "10.0.0.0/24"))
    .toBe(`{"type":"bridge","ipam":{"ranges":[[{"subnet": "10.0.0.0/24"}]]}}`);
});
