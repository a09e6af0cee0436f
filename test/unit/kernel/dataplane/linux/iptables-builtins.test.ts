import { describe, expect, test } from "bun:test";
import {
  type ChainInTable,
  idle,
  missing,
} from "../../../../../src/kernel/dataplane/linux/iptables-builtins.ts";

const chain = (table: string, name: string, use = 0, accepts = true): ChainInTable => ({
  table,
  name,
  use,
  accepts,
});

describe("what iptables-nft would have to make", () => {
  test("is a table with all its built-in chains where there is none", () => {
    expect(missing(6, ["raw"], [], []))
      .toEqual(["6 raw", "6 raw PREROUTING", "6 raw OUTPUT"]);
  });

  test("is what others' tables lack", () => {
    const chains = [chain("filter", "INPUT", 1), chain("nat", "OUTPUT"), chain("filter", "mine")];
    expect(missing(4, ["filter"], [{ name: "filter", use: 2 }], chains))
      .toEqual(["4 filter FORWARD", "4 filter OUTPUT"]);
  });

  test("is nothing we know of a table that is not iptables'", () => {
    expect(missing(4, ["else"], [{ name: "else", use: 0 }], [])).toEqual([]);
  });
});

describe("what goes again", () => {
  const marked = new Set(missing(4, ["filter", "nat"], [], []));

  test("are marked tables and chains that are empty", () => {
    const chains = [chain("nat", "PREROUTING"), chain("nat", "OUTPUT")];
    expect(idle(4, marked, [{ name: "nat", use: 2 }], chains)).toEqual({ chains, tables: ["nat"] });
  });

  test("are not those with rules, with a policy, or of others", () => {
    const chains = [
      chain("filter", "INPUT", 1),
      chain("filter", "FORWARD", 0, false),
      chain("filter", "OUTPUT"),
      chain("filter", "admins"),
      chain("mangle", "INPUT"),
    ];
    const tables = [{ name: "filter", use: 4 }, { name: "mangle", use: 1 }];
    expect(idle(4, marked, tables, chains)).toEqual({
      chains: [chain("filter", "OUTPUT")],
      tables: [],
    });
  });

  test("are not those of the other family", () => {
    expect(idle(6, marked, [{ name: "nat", use: 1 }], [chain("nat", "OUTPUT")]))
      .toEqual({ chains: [], tables: [] });
  });

  test("is not a table in which something else stands", () => {
    expect(idle(4, marked, [{ name: "nat", use: 2 }], [chain("nat", "OUTPUT")]).tables).toEqual([]);
  });
});
