import { expect, test } from "bun:test";
import { listensOn } from "../../../src/cli/listeners.ts";
import { parseDestination, targetsOf } from "../../../src/cli/why.ts";
import type { Meaning } from "../../../src/kernel/runtime/objects.ts";

test("parseDestination() takes names, addresses, ports and protocols apart", () => {
  const cases: readonly (readonly [string, object])[] = [
    ["default/web", { name: "default/web" }],
    ["default/web:http", { name: "default/web", port: "http" }],
    ["svc/default/web:53/UDP", { name: "svc/default/web", port: "53", protocol: "udp" }],
    ["10.0.0.1", { name: "10.0.0.1" }],
    ["10.0.0.1:80/sctp", { name: "10.0.0.1", port: "80", protocol: "sctp" }],
    ["fd00::1", { name: "fd00::1" }],
    ["[fd00::1]:80", { name: "fd00::1", port: "80" }],
    ["[fd00::1]", { name: "fd00::1" }],
  ];
  for (const [text, wanted] of cases) expect(parseDestination(text)).toEqual(wanted as never);
  expect(() => parseDestination("[web]:80")).toThrow("is no destination");
  expect(() => parseDestination("a/b:80/icmp")).toThrow('"icmp" is no protocol');
});

const DNS: Meaning = {
  kind: "service",
  name: "kube-system/dns",
  addresses: ["10.96.0.2", "fd00:96::2"],
  ports: [
    { name: "dns", protocol: "udp", port: 53 },
    { name: "dns-tcp", protocol: "tcp", port: 53 },
    { name: "metrics", protocol: "tcp", port: 9153 },
  ],
};

test("targetsOf() takes all ports of a Service, or those that were meant, on each address", () => {
  const ask = (typed: object) =>
    targetsOf(DNS, { name: "dns", ...typed })
      .map(({ address, port, protocol }) => `${address} ${port}/${protocol}`);
  expect(ask({})).toHaveLength(6);
  expect(ask({ port: "dns" })).toEqual(["10.96.0.2 53/udp", "fd00:96::2 53/udp"]);
  expect(ask({ port: "53" })).toEqual(["10.96.0.2 53/tcp", "fd00:96::2 53/tcp"]);
  expect(ask({ port: "53", protocol: "udp" })).toEqual(["10.96.0.2 53/udp", "fd00:96::2 53/udp"]);
  expect(ask({ port: "99" })).toEqual(["10.96.0.2 99/tcp", "fd00:96::2 99/tcp"]);
  expect(() => ask({ port: "web" })).toThrow("its ports are dns, dns-tcp, metrics");
  expect(() => ask({ port: "0" })).toThrow('"0" is no port');
  expect(
    targetsOf({ kind: "address", name: "10.0.0.1", addresses: ["10.0.0.1"], ports: [] }, {
      name: "",
    }),
  )
    .toEqual([{ address: "10.0.0.1", port: 80, protocol: "tcp" }]);
});

test("listensOn() reads sockets of both families out of /proc", () => {
  const head = "  sl  local_address rem_address   st\n";
  const files: Readonly<Record<string, string>> = {
    "/proc/net/tcp":
      `${head}   0: 0100007F:0050 00000000:0000 0A 0\n   1: 0B00010A:0016 0B00010A:9999 01 0\n`,
    "/proc/net/tcp6":
      `${head}   0: 00000000000000000000000000000000:4F14 00000000000000000000000000000000:0000 0A 0
   1: 000000FD000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 0\n`,
    "/proc/net/udp": `${head}   0: 00000000:0035 00000000:0000 07 0\n`,
    "/proc/net/udp6": head,
  };
  const ask = (address: string, port: number, protocol: "tcp" | "udp" | "sctp" = "tcp") =>
    listensOn({ address, port, protocol }, (path) => files[path] ?? "");
  expect(ask("127.0.0.1", 80)).toBe(true);
  expect(ask("10.1.0.11", 80)).toBe(false);
  expect(ask("10.1.0.11", 22)).toBe(false);
  expect(ask("10.1.0.11", 20244)).toBe(true);
  expect(ask("fd00::1", 443)).toBe(true);
  expect(ask("fd00::2", 443)).toBe(false);
  expect(ask("10.1.0.11", 53, "udp")).toBe(true);
  expect(ask("fd00::1", 53, "udp")).toBe(false);
  expect(ask("10.1.0.11", 9, "sctp")).toBeUndefined();
});
