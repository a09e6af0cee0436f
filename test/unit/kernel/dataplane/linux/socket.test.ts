import { expect, test } from "bun:test";
import { KernelError } from "../../../../../src/kernel/dataplane/errors.ts";
import {
  type MessageReader,
  type MessageWriter,
  NLM_F_ACK,
} from "../../../../../src/kernel/dataplane/linux/message.ts";
import {
  NETLINK_GENERIC,
  NETLINK_ROUTE,
  NetlinkSocket,
  openSocket,
  portId,
  receiveNow,
} from "../../../../../src/kernel/dataplane/linux/socket.ts";
import { closeFile } from "../../../../../src/kernel/dataplane/linux/ffi.ts";

const RTM_GETLINK = 18;
const RTM_NEWLINK = 16;
const RTM_GETROUTE = 26;
const IFLA_IFNAME = 3;
const GENL_ID_CTRL = 16;

function withSocket<T>(protocol: number, use: (socket: NetlinkSocket) => T): T {
  const socket = new NetlinkSocket(protocol);
  try {
    return use(socket);
  } finally {
    socket.close();
  }
}

test("request() hands over the answer before the ack", () => {
  withSocket(NETLINK_ROUTE, (socket) => {
    let name = "";
    socket.request("read link", (w) => {
      w.begin(RTM_GETLINK);
      w.rawZero(4);
      w.rawI32(1);
      w.rawZero(8);
      w.end();
    }, (message) => {
      expect(message.type).toBe(RTM_NEWLINK);
      expect(message.i32(4)).toBe(1);
      const a = message.attributes(16);
      while (a.next()) if (a.type === IFLA_IFNAME) name = a.string();
    });
    expect(name).toBe("lo");
  });
});

test("request() throws what Linux refused, with the text of the extended ack", () => {
  withSocket(NETLINK_ROUTE, (socket) => {
    const attempt = () =>
      socket.request(
        "read link",
        (w) => {
          w.begin(RTM_GETLINK);
          w.rawZero(4);
          w.rawI32(987654321);
          w.rawZero(8);
          w.end();
        },
        undefined,
        "987654321",
      );
    expect(attempt).toThrow(KernelError);
    expect(attempt).toThrow('Cannot read link "987654321": ENODEV');
  });
});

test("dump() lists every item of a multipart answer", async () => {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const names = await socket.dump("list links", (w) => {
      w.begin(RTM_GETLINK);
      w.rawZero(16);
      w.end();
    }, (message) => {
      const a = message.attributes(16);
      while (a.next()) if (a.type === IFLA_IFNAME) return a.string();
      return undefined;
    });
    expect(names).toContain("lo");
  } finally {
    socket.close();
  }
});

test("a decoder that throws in the middle of a dump leaves the socket usable", () => {
  withSocket(NETLINK_ROUTE, (socket) => {
    const list = (decode: () => number) =>
      socket.dumpOnce("list links", (w) => {
        w.begin(RTM_GETLINK);
        w.rawZero(16);
        w.end();
      }, decode);
    expect(() =>
      list(() => {
        throw new RangeError("no");
      })
    ).toThrow(RangeError);
    expect(list(() => 1)?.length).toBeGreaterThan(0);
  });
});

test("pipeline() matches refusals to their messages over many batches", () => {
  withSocket(NETLINK_GENERIC, (socket) => {
    // CTRL_CMD_GETFAMILY by name: "nlctrl" is always there, the others never.
    const refusals = socket.pipeline("resolve", 5000, (w, i) => {
      w.begin(GENL_ID_CTRL, i % 7 === 0 ? 0 : NLM_F_ACK);
      w.rawU32(3 | 1 << 8);
      w.string(2, i % 1000 === 999 ? `none-${i}` : "nlctrl");
      w.end();
    });
    expect([...refusals.keys()]).toEqual([999, 1999, 2999, 3999, 4999]);
    expect(refusals.get(999)?.errno).toBe(2);
  });
});

test("pipeline() refuses what cannot be encoded and sends the rest", () => {
  withSocket(NETLINK_GENERIC, (socket) => {
    const refusals = socket.pipeline("resolve", 4, (w, i) => {
      w.begin(GENL_ID_CTRL);
      w.rawU32(3 | 1 << 8);
      if (i === 1) w.u16(1, 70_000);
      if (i === 2) { for (let k = 0; k < 20; k++) w.data(99, new Uint8Array(4000)); }
      w.string(2, "nlctrl");
      w.end();
    });
    expect([...refusals.keys()]).toEqual([1, 2]);
    expect(refusals.get(1)?.text).toContain("70000");
    expect(refusals.get(2)?.errno).toBe(90);
  });
});

test("a lost answer marks the batch as unknown and the socket goes on", () => {
  const socket = new NetlinkSocket(NETLINK_GENERIC, { receiveBuffer: 4096 });
  try {
    const ask = (count: number, name: string) =>
      socket.pipeline("resolve", count, (w) => {
        w.begin(GENL_ID_CTRL);
        w.rawU32(3 | 1 << 8);
        w.string(2, name);
        w.end();
      });
    const refusals = ask(1000, "none");
    expect(refusals.size).toBe(1000);
    expect([...new Set([...refusals.values()].map((r) => r.errno))].toSorted()).toEqual([105, 2]);
    expect(ask(1, "none").get(0)?.errno).toBe(2);
  } finally {
    socket.close();
  }
});

test("receiveNow() does not wait", () => {
  const fd = openSocket(NETLINK_ROUTE, { groups: [1], nonblocking: true });
  try {
    expect(portId(fd)).not.toBe(0);
    expect(receiveNow(fd, new Uint8Array(64))).toBe(0);
  } finally {
    closeFile(fd);
  }
});

test("a protocol that Linux lacks is named", () => {
  expect(() => new NetlinkSocket(31)).toThrow('Cannot open netlink socket "protocol 31"');
});

test("dumpInParts() gives the same list as dump(), with turns of the event loop in between, or as much as is wanted", async () => {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  const ask = (w: MessageWriter) => {
    w.begin(RTM_GETROUTE);
    w.rawZero(12);
    w.end();
  };
  const read = (message: MessageReader) => message.type;
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  try {
    const all = await socket.dump("list routes", ask, read);
    const parts: number[] = [];
    const whole = await socket.dumpInParts("list routes", ask, read, async (items) => {
      parts.push(...items);
      await turn();
      return true;
    });
    expect({ whole, parts: parts.length }).toEqual({ whole: true, parts: all.length });
    const abandoned = await socket.dumpInParts("list routes", ask, read, async () => {
      await turn();
      return false;
    });
    expect(abandoned).toBe(false);
    // What was abandoned does not hold the socket.
    expect((await socket.dump("list routes", ask, read)).length).toBe(all.length);
  } finally {
    socket.close();
  }
});
