/** Network namespaces of this machine, found by address; and what happens where a pod is gone, or there are two of it. */

import { afterAll, describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { KernelError } from "../../../../../src/kernel/dataplane/errors.ts";
import { podLinkTable } from "../../../../../src/kernel/dataplane/linux/pod.ts";
import {
  PodNamespaces,
  readWithin,
} from "../../../../../src/kernel/dataplane/linux/pod-namespaces.ts";
import type { PodLink } from "../../../../../src/kernel/dataplane/resources/pod.ts";

const owner = { name: "proxy", protocol: 201 };
const made: string[] = [];
let count = 0;

function ip(...argv: readonly string[]): boolean {
  return Bun.spawnSync(["ip", ...argv], { stdin: "ignore" }).exitCode === 0;
}

/** A namespace with these addresses; its path. */
function namespace(...addresses: readonly string[]): string {
  const name = `routelet-pods-${process.pid}-${++count}`;
  if (!ip("netns", "add", name)) throw new Error("Cannot make a network namespace");
  made.push(name);
  for (const address of addresses) ip("-n", name, "addr", "add", address, "dev", "lo");
  return `/run/netns/${name}`;
}

afterAll(() => {
  for (const name of made) ip("netns", "del", name);
});

const able = process.getuid?.() === 0 && (() => {
  try {
    namespace();
    return true;
  } catch {
    return false;
  }
})();
const check = able ? test : test.skip;
const why = able ? "" : " (left out: this needs root and network namespaces)";

// Addresses that no other test of this machine uses at the same time.
const unique = `10.250.${process.pid >> 8 & 255}.${process.pid & 255}`;
const six = `fd00:250::${(process.pid & 0xffff).toString(16)}`;
const tunnel: PodLink = { pod: unique, name: "kube-tunnel-if", type: "ipip", up: true };

describe("namespaces", () => {
  check(
    `are found by either family's address, and the node's own is none of them${why}`,
    async () => {
      const path = namespace(`${unique}/32`, `${six}/128`);
      const pods = new PodNamespaces();
      const inode = statSync(path).ino;
      expect(pods.all().map((each) => each.inode)).toContain(inode);
      expect(pods.all().map((each) => each.inode)).not.toContain(pods.own);
      for (const address of [unique, six]) {
        expect((await pods.search().find(address)).map((each) => each.inode)).toEqual([inode]);
      }
      // Known now, and looked at again before it is believed.
      expect((await pods.search().find(unique)).map((each) => each.inode)).toEqual([inode]);
      ip("netns", "del", made.pop() ?? "");
      expect(await pods.search().find(unique)).toEqual([]);
    },
  );

  check(`of the node itself are another's pods${why}`, () => {
    const node = namespace();
    const pods = new PodNamespaces({ namespace: node });
    expect(pods.own).toBe(statSync(node).ino);
    expect(pods.all().map((each) => each.inode)).not.toContain(pods.own);
  });
});

describe("a pod", () => {
  check(`that is not there takes nothing, and has nothing to delete${why}`, async () => {
    const table = podLinkTable(new PodNamespaces(), owner);
    const pod = "10.251.0.1";
    const [created] = await table.apply([{ verb: "create", item: { ...tunnel, pod } }]);
    expect(created?.error?.message).toBe(
      'Cannot create pod.link "kube-tunnel-if in pod 10.251.0.1": ENOENT (no network namespace on this node has the ' +
        'address "10.251.0.1"); the agent must see the node\'s processes (hostPID: true) or /run/netns',
    );
    const [deleted] = await table.apply([{ verb: "delete", item: { ...tunnel, pod } }]);
    expect(deleted).toMatchObject({ note: "the pod is gone" });
    expect(deleted?.error).toBeUndefined();
  });

  check(`whose address is in two namespaces is refused${why}`, async () => {
    namespace(`${unique}/32`);
    namespace(`${unique}/32`);
    const table = podLinkTable(new PodNamespaces(), owner);
    const [outcome] = await table.apply([{ verb: "create", item: tunnel }]);
    expect(outcome?.error?.code).toBe("ENOTUNIQ");
    expect(outcome?.error?.message).toContain("set --runtime-endpoint");
    const [deleted] = await table.apply([{ verb: "delete", item: tunnel }]);
    expect(deleted?.error).toBeUndefined();
  });

  test("of one family has no tunnel of the other", () => {
    const table = podLinkTable(new PodNamespaces(), owner);
    expect(table.refuse?.(tunnel)).toBeUndefined();
    expect(table.refuse?.({ ...tunnel, pod: "fd00::1" })).toContain("cannot end");
  });
});

check(`a pod that changes its links without rest costs itself alone${why}`, async () => {
  const path = namespace();
  const pod = { path, inode: statSync(path).ino };
  const failing = (code: string) =>
    readWithin(pod, () => Promise.reject(new KernelError("list pod.link", code)));
  expect(await failing("EINTR")).toBeUndefined();
  await expect(failing("EMFILE")).rejects.toThrow("EMFILE");
});
