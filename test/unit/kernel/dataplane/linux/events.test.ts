import { describe, expect, test } from "bun:test";
import { listenEvents } from "../../../../../src/kernel/dataplane/linux/events.ts";
import { inNetworkNamespace } from "../../../../../src/kernel/dataplane/linux/netns.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../../../src/kernel/dataplane/linux/socket.ts";

const RTM_NEWLINK = 16;
const RTNLGRP_LINK = 1;
const IFLA_MTU = 4;

const possible = process.getuid?.() === 0 && Bun.which("ip") !== null;
const suite = possible
  ? "in a network namespace"
  : "in a network namespace (left out: needs root and ip)";

let counter = 0;
async function inNamespace(use: (path: string) => Promise<void> | void): Promise<void> {
  const name = `netlink${process.pid}-${counter++}`;
  expect(Bun.spawnSync(["ip", "netns", "add", name]).exitCode).toBe(0);
  try {
    await use(`/run/netns/${name}`);
  } finally {
    Bun.spawnSync(["ip", "netns", "del", name]);
  }
}

/** Sets the MTU of `lo`, which makes one event. */
function setMtu(socket: NetlinkSocket, mtu: number): void {
  socket.request("change link", (w) => {
    w.begin(RTM_NEWLINK);
    w.rawZero(4);
    w.rawI32(1);
    w.rawZero(8);
    w.u32(IFLA_MTU, mtu);
    w.end();
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await Bun.sleep(10);
}

describe.skipIf(!possible)(suite, () => {
  test("a socket works where it was opened, and the thread is back home", () =>
    inNamespace((path) => {
      const mtu = (socket: NetlinkSocket) => {
        let value = 0;
        socket.request("read link", (w) => {
          w.begin(18);
          w.rawZero(4);
          w.rawI32(1);
          w.rawZero(8);
          w.end();
        }, (message) => {
          const a = message.attributes(16);
          while (a.next()) if (a.type === IFLA_MTU) value = a.u32();
        });
        return value;
      };
      const there = new NetlinkSocket(NETLINK_ROUTE, { namespace: path });
      const here = new NetlinkSocket(NETLINK_ROUTE);
      const before = mtu(here);
      setMtu(there, 12345);
      expect(mtu(there)).toBe(12345);
      expect(mtu(here)).toBe(before);
      there.close();
      here.close();
    }));

  test("work that throws brings the thread back as well", () =>
    inNamespace((path) => {
      const attempt = () =>
        inNetworkNamespace(path, () => {
          throw new RangeError("in there");
        });
      expect(attempt).toThrow(RangeError);
      expect(inNetworkNamespace("/proc/self/ns/net", () => 1)).toBe(1);
    }));

  test("events arrive in order, also a burst", () =>
    inNamespace(async (path) => {
      const seen: number[] = [];
      let drained = 0;
      const stop = await listenEvents(NETLINK_ROUTE, [RTNLGRP_LINK], {
        onMessage(message) {
          const a = message.attributes(16);
          while (a.next()) if (a.type === IFLA_MTU) seen.push(a.u32());
        },
        onDrained: () => drained++,
        onLost: () => seen.push(-1),
      }, { namespace: path });
      const socket = new NetlinkSocket(NETLINK_ROUTE, { namespace: path });
      setMtu(socket, 2000);
      await until(() => seen.length === 1);
      for (let i = 1; i <= 2000; i++) setMtu(socket, 2000 + i);
      await until(() => seen.length === 2001);
      expect(seen).toEqual(Array.from({ length: 2001 }, (_, i) => 2000 + i));
      expect(drained).toBeGreaterThan(0);
      expect(drained).toBeLessThan(2001);
      stop();
      setMtu(socket, 1500);
      await Bun.sleep(20);
      expect(seen.length).toBe(2001);
      socket.close();
    }));

  test("an overflow is said, and events arrive again after it", () =>
    inNamespace(async (path) => {
      const seen: number[] = [];
      const lost: string[] = [];
      const stop = await listenEvents(NETLINK_ROUTE, [RTNLGRP_LINK], {
        onMessage(message) {
          const a = message.attributes(16);
          while (a.next()) if (a.type === IFLA_MTU) seen.push(a.u32());
        },
        onLost: (reason) => lost.push(reason),
      }, { namespace: path, receiveBuffer: 8192 });
      const socket = new NetlinkSocket(NETLINK_ROUTE, { namespace: path });
      for (let i = 0; i < 200; i++) setMtu(socket, 2000 + i);
      await until(() => lost.length > 0);
      expect(lost.length).toBe(1);
      setMtu(socket, 4000);
      await until(() => seen.at(-1) === 4000);
      expect(seen.at(-1)).toBe(4000);
      stop();
      socket.close();
    }));
});

test("a namespace that is not there is named", () => {
  expect(() => inNetworkNamespace("/run/netns/no-such-namespace", () => 1)).toThrow(
    'Cannot open network namespace "/run/netns/no-such-namespace": ENOENT',
  );
});
