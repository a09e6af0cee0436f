import { expect, test } from "bun:test";
import type { NetworkInterfaceInfo, networkInterfaces } from "node:os";
import { hostAddresses } from "../../../../src/kernel/runtime/host.ts";

const on = (address: string, internal = false): NetworkInterfaceInfo => ({
  address,
  family: "IPv4",
  internal,
  netmask: "255.255.255.0",
  mac: "00:00:00:00:00:00",
  cidr: `${address}/24`,
});

function host(links: ReturnType<typeof networkInterfaces>, aliases: Record<string, string> = {}) {
  const read: string[] = [];
  const made = hostAddresses({
    interfaces: () => links,
    file(link, name) {
      read.push(`${link} ${name}`);
      return name === "mtu" ? "1500\n" : aliases[link];
    },
  });
  return { values: made.values(), read };
}

test("addresses on links that carry our mark are VIPs and not the host's", () => {
  const links = { eth0: [on("192.168.1.10")], "kube-dummy-if": [on("10.96.0.1"), on("10.96.0.2")] };
  const own = { link: "eth0", family: 4, address: "192.168.1.10", prefix: 24, mtu: 1500 } as const;
  expect(host(links, { "kube-dummy-if": "routelet:proxy\n" }).values).toEqual([own]);
  // Of others, what is there counts.
  expect(host(links, { "kube-dummy-if": "mine\n" }).values.map(({ link }) => link))
    .toEqual(["eth0", "kube-dummy-if", "kube-dummy-if"]);
});

test("the address of a bridge that a plugin made is the host's", () => {
  const links = { "kube-bridge": [on("10.244.1.1")] };
  expect(host(links, { "kube-bridge": "routelet:router:bridge\n" }).values.map(({ link }) => link))
    .toEqual(["kube-bridge"]);
});

test("links that only have a link-local address cost no look at their files", () => {
  const local = {
    ...on("fe80::1"),
    family: "IPv6",
    cidr: "fe80::1/64",
    scopeid: 3,
    netmask: "ffff:ffff:ffff:ffff::",
  } as const;
  const { values, read } = host({ veth1: [local], lo: [on("127.0.0.1", true)] });
  expect(values).toEqual([
    { link: "veth1", family: 6, address: "fe80::1", prefix: 64 },
    { link: "lo", family: 4, address: "127.0.0.1", prefix: 24 },
  ]);
  expect(read).toEqual([]);
});
