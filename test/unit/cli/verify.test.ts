/** The proof that nothing is left, over a Linux in memory. */

import { describe, expect, test } from "bun:test";
import { proofText, survey } from "../../../src/cli/verify.ts";
import { fakeDataplane } from "../../../src/kernel/dataplane/fake.ts";
import { cleanup } from "../../../src/kernel/runtime/cleanup.ts";
import { running } from "../../support/runtime.ts";
import {
  proxyOptions,
  proxyPlugin,
  seedForeign,
  smallCluster,
} from "../../support/service-world.ts";

const owners = [{ name: "proxy", protocol: 201 }, { name: "router", protocol: 202 }];

async function proxied() {
  const linux = fakeDataplane();
  seedForeign(linux);
  const made = await running([proxyPlugin], {
    linux,
    cluster: smallCluster(),
    options: proxyOptions(),
  });
  await made.runtime.stop();
  return { linux, owned: Object.values(made.status().owned).reduce((sum, n) => sum + n, 0) };
}

describe("the survey", () => {
  test("counts all that is ours, in words, and what others have only once for all owners", async () => {
    const { linux, owned } = await proxied();
    const before = await survey([linux, undefined], owners);
    expect(before.flatMap(({ ours }) => ours)).toHaveLength(owned);
    expect(before.flatMap(({ ours }) => ours)).toContain("proxy: link kube-dummy-if type dummy up");
    await cleanup(linux, owners);
    const after = await survey([linux, undefined], owners);
    expect(after.flatMap(({ ours }) => ours)).toEqual([]);
    expect(after.map(({ where, others }) => [where, others]))
      .toEqual(before.map(({ where, others }) => [where, others]));
    expect(after.reduce((sum, { others }) => sum + others, 0)).toBeGreaterThan(0);
  });

  test("takes what Linux does not know for empty, and what cannot be read for no proof", async () => {
    const { linux } = await proxied();
    linux.failList("ipset", "ENOSUPPORT");
    const [proxy] = owners;
    const seen = await survey([linux, undefined], proxy === undefined ? [] : [proxy]);
    expect(seen.find(({ where }) => where === "ipset"))
      .toMatchObject({ ours: [], others: 0 });
    linux.failList("route", "EPERM");
    expect(survey([linux, undefined], owners)).rejects.toThrow("EPERM");
  });

  test("looks at packet rules of both backends", async () => {
    const seen = await survey([fakeDataplane(), fakeDataplane()], owners);
    expect(seen.filter(({ where }) => where.endsWith("other backend")).map(({ where }) => where))
      .toEqual(["jump", "chain", "ipset.member", "ipset"].map((kind) => `${kind}, other backend`));
  });
});

describe("the proof as text", () => {
  test("ends with what it proves", () => {
    const text = proofText([{ where: "ipset", ours: [], others: 2 }]);
    expect(text).toEndWith("verified: nothing of ours is left, and what is there is others'\n");
    expect(text.split("\n")[1]?.trim().split(/ +/)).toEqual(["ipset", "2", "0", "2"]);
  });

  test("or with what is left", () => {
    const text = proofText([{ where: "link", ours: ["proxy: link a"], others: 0 }]);
    expect(text).toEndWith("left: proxy: link a\n1 of ours left\n");
  });
});
