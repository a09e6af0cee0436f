import { describe, expect, test } from "bun:test";
import { trim } from "../../../../src/kernel/cluster/trim.ts";
import type { Pod } from "../../../../src/kernel/plugin.ts";
import { podFacts } from "../../../../src/plugins/firewall/pods.ts";

function pod(...ips: readonly string[]): Pod {
  const made = trim("pods", {
    metadata: { name: "web", namespace: "shop" },
    status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })) },
  });
  if (made === undefined) throw new Error("no pod");
  return made;
}

describe("the addresses of a pod", () => {
  test("are the object's own list where that is canonical", () => {
    for (const ips of [["10.0.0.1"], ["fd00::1"], ["10.0.0.1", "fd00::1"]]) {
      const object = pod(...ips);
      expect(podFacts(object)?.addresses).toBe(object.status.podIPs);
    }
  });

  test("are canonical, IPv4 before IPv6, each once", () => {
    expect(podFacts(pod("FD00::0:1", "010.0.0.1"))?.addresses).toEqual(["10.0.0.1", "fd00::1"]);
    expect(podFacts(pod("fd00::1", "10.0.0.1"))?.addresses).toEqual(["10.0.0.1", "fd00::1"]);
    expect(podFacts(pod("10.0.0.1", "10.0.0.1"))?.addresses).toEqual(["10.0.0.1"]);
    expect(podFacts(pod("10.0.0.1", "::ffff:10.0.0.2"))?.addresses)
      .toEqual(["10.0.0.1", "10.0.0.2"]);
  });

  test("leave out what is no address, and a pod without any", () => {
    expect(podFacts(pod("10.0.0.1", "nonsense"))?.addresses).toEqual(["10.0.0.1"]);
    expect(podFacts(pod("nonsense"))).toBeUndefined();
  });
});

test("a pod's key is the text that was given with it", () => {
  expect(podFacts(pod("10.0.0.1"))?.key).toBe("shop/web");
  expect(podFacts(pod("10.0.0.1"), "shop/web")?.key).toBe("shop/web");
});
