/**
 * The IPVS tables against a real Linux, with ipvsadm as the witness. Each test has a network namespace of its own. Runs where
 * Linux has IPVS (user-mode Linux too), as root.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { getIpvsTimeouts, setIpvsTimeouts } from "../../src/kernel/dataplane/linux/ipvs-config.ts";
import {
  readIpvsInfo,
  readIpvsStatistics,
  readIpvsTable,
} from "../../src/kernel/dataplane/linux/ipvs-statistics.ts";
import { ipvsTableText } from "../../src/kernel/dataplane/linux/ipvs-text.ts";
import { IpvsConnection } from "../../src/kernel/dataplane/linux/ipvs-connection.ts";
import { ipvsTimeoutTable } from "../../src/kernel/dataplane/linux/ipvs-timeouts.ts";
import { openLedger } from "../../src/kernel/dataplane/linux/ledger.ts";
import { type Ipvs, openIpvs } from "../../src/kernel/dataplane/linux/ipvs.ts";
import type { Actual, Drift, Op, Table } from "../../src/kernel/dataplane/resource.ts";
import type { IpvsTimeout } from "../../src/kernel/dataplane/resources/ipvs-timeout.ts";
import {
  type IpvsDestination,
  ipvsDestination,
  ipvsFwmarkId,
  type IpvsService,
  type IpvsServiceId,
  ipvsServiceId,
} from "../../src/kernel/dataplane/resources/ipvs.ts";

async function hasIpvs(): Promise<boolean> {
  const connection = new IpvsConnection();
  try {
    await connection.ready();
    return process.getuid?.() === 0 && Bun.which("ipvsadm") !== null && Bun.which("ip") !== null;
  } catch {
    return false;
  } finally {
    connection.close();
  }
}

const supported = await hasIpvs();
const suite = supported
  ? "IPVS in Linux"
  : "IPVS in Linux (left out: this machine lacks ip_vs, ipvsadm or root)";

const root = mkdtempSync(join(tmpdir(), "ipvs-"));
const cleanup: (() => void)[] = [() => rmSync(root, { recursive: true, force: true })];
afterAll(() => {
  for (const each of cleanup.toReversed()) each();
});

function run(...command: readonly string[]): string {
  const result = Bun.spawnSync([...command]);
  if (!result.success) throw new Error(`${command.join(" ")}: ${result.stderr.toString()}`);
  return result.stdout.toString();
}

interface Place {
  readonly ipvs: Ipvs;
  readonly services: Table<IpvsService>;
  readonly destinations: Table<IpvsDestination>;
  readonly ledger: string;
  readonly namespace: string;
  ipvsadm(...words: readonly string[]): string;
  /** A second process of the same owner: same ledger, nothing in memory. */
  again(): Ipvs;
}

let counter = 0;
function place(): Place {
  const name = `ipvs${process.pid}-${counter++}`;
  run("ip", "netns", "add", name);
  run("ip", "-n", name, "link", "set", "lo", "up");
  cleanup.push(() => run("ip", "netns", "del", name));
  const options = { namespace: `/run/netns/${name}`, runtimeDirectory: join(root, name) };
  const open = () => {
    const ipvs = openIpvs(options);
    cleanup.push(() => ipvs.close());
    return ipvs;
  };
  const ipvs = open();
  return {
    ipvs,
    services: ipvs.services("proxy"),
    destinations: ipvs.destinations("proxy"),
    ledger: join(root, name, "proxy.ipvs.ledger"),
    namespace: options.namespace,
    ipvsadm: (...words) => run("ip", "netns", "exec", name, "ipvsadm", ...words),
    again: open,
  };
}

const web = ipvsServiceId(4, "tcp", "10.96.0.1", 80);
const web6 = ipvsServiceId(6, "tcp", "fd00::1", 80);

function service(id: IpvsServiceId, scheduler = "rr", persistence = 0): IpvsService {
  return { id, scheduler, schedulerFlags: 0, persistence };
}
function destination(id: IpvsServiceId, address: string, weight = 1): IpvsDestination {
  return { service: id, address, port: 8080, weight, method: "masq" };
}
function creates<T>(...items: readonly T[]): readonly Op<T>[] {
  return items.map((item) => ({ verb: "create", item }));
}
function errors(outcomes: readonly { readonly error?: Error }[]): readonly (string | undefined)[] {
  return outcomes.map((outcome) => outcome.error?.message);
}

describe.skipIf(!supported)(suite, () => {
  test("what is made is what ipvsadm shows and what is listed", async () => {
    const p = place();
    const items = [
      service(web),
      service(ipvsServiceId(4, "udp", "10.96.0.2", 53), "wrr", 10800),
      { ...service(web6, "sh", 60), schedulerFlags: 0x18 },
      service(ipvsFwmarkId(4, 17), "lc"),
      service(ipvsFwmarkId(6, 17)),
    ];
    expect(errors(await p.services.apply(creates(...items)))).toEqual(Array(5).fill(undefined));
    const members = [
      destination(web, "10.1.0.1"),
      { ...destination(web, "10.1.0.2", 0), method: "tunnel" as const },
      { ...destination(web6, "fd00::aa", 100), method: "route" as const },
      destination(ipvsFwmarkId(4, 17), "10.1.0.3"),
    ];
    expect(errors(await p.destinations.apply(creates(...members)))).toEqual(
      Array(4).fill(undefined),
    );
    expect(p.ipvsadm("-Sn").trimEnd().split("\n").toSorted()).toEqual([
      "-A -f 17 -6 -s rr",
      "-A -f 17 -s lc",
      "-A -t 10.96.0.1:80 -s rr",
      "-A -t [fd00::1]:80 -s sh -p 60 -b sh-fallback,sh-port",
      "-A -u 10.96.0.2:53 -s wrr -p 10800",
      "-a -f 17 -r 10.1.0.3:8080 -m -w 1",
      "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
      "-a -t 10.96.0.1:80 -r 10.1.0.2:8080 -i -w 0 --tun-type ipip",
      "-a -t [fd00::1]:80 -r [fd00::aa]:8080 -g -w 100",
    ]);
    for (const ipvs of [p.ipvs, p.again()]) {
      const listed = await ipvs.services("proxy").list();
      expect(listed.every((each) => each.owned)).toBe(true);
      expect(sorted(listed.map((each) => each.item))).toEqual(sorted(items));
      const found = await ipvs.destinations("proxy").list();
      expect(sorted(found.map((each) => each.item))).toEqual(sorted(members));
    }
  });

  test("updates and deletes reach Linux, and a delete of what is gone succeeds", async () => {
    const p = place();
    await p.services.apply(creates(service(web), service(web6)));
    await p.destinations.apply(
      creates(
        destination(web, "10.1.0.1"),
        destination(web, "10.1.0.2"),
        destination(web6, "fd00::a"),
      ),
    );
    const changed = service(web, "wrr", 300);
    const outcomes = await p.services.apply([
      { verb: "update", item: changed, have: service(web) },
      { verb: "delete", item: service(web6) },
      { verb: "delete", item: service(ipvsServiceId(4, "tcp", "10.96.0.99", 1)) },
    ]);
    expect(errors(outcomes)).toEqual([undefined, undefined, undefined]);
    const more = await p.destinations.apply([
      { verb: "update", item: destination(web, "10.1.0.1", 0), have: destination(web, "10.1.0.1") },
      { verb: "delete", item: destination(web, "10.1.0.2") },
      { verb: "delete", item: destination(web, "10.1.0.2") },
      { verb: "delete", item: destination(web6, "fd00::a") },
      { verb: "create", item: destination(web, "10.1.0.1", 5) },
      {
        verb: "update",
        item: destination(web, "10.1.0.3", 6),
        have: destination(web, "10.1.0.3"),
      },
    ]);
    expect(errors(more)).toEqual(Array(6).fill(undefined));
    expect(p.ipvsadm("-Sn").trimEnd().split("\n").toSorted()).toEqual([
      "-A -t 10.96.0.1:80 -s wrr -p 300",
      "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 5",
      "-a -t 10.96.0.1:80 -r 10.1.0.3:8080 -m -w 6",
    ]);
  });

  test("a service of another is shown, never taken, and nothing is put into it", async () => {
    const p = place();
    p.ipvsadm("-A", "-t", "10.96.0.1:80", "-s", "lc");
    p.ipvsadm("-a", "-t", "10.96.0.1:80", "-r", "10.9.9.9:80", "-m");
    const before = p.ipvsadm("-Sn");
    expect(await p.services.list()).toEqual([{ item: service(web, "lc"), owned: false }]);
    expect(await p.destinations.list()).toEqual([]);
    const [made, other] = await p.services.apply(creates(service(web), service(web6)));
    expect(made?.error?.code).toBe("EEXIST");
    expect(made?.error?.message).toContain('"tcp 10.96.0.1:80"');
    expect(other?.error).toBeUndefined();
    const [put, took] = await p.destinations.apply([
      { verb: "create", item: destination(web, "10.1.0.1") },
      { verb: "delete", item: { ...destination(web, "10.9.9.9"), port: 80 } },
    ]);
    expect(put?.error?.code).toBe("ESRCH");
    expect(took?.error).toBeUndefined();
    await p.services.apply([{ verb: "delete", item: service(web6) }]);
    expect(p.ipvsadm("-Sn")).toBe(before);
    expect((await p.again().services("proxy").list()).map((each) => each.owned)).toEqual([false]);
  });

  test("owners do not see each other's services as their own", async () => {
    const p = place();
    await p.services.apply(creates(service(web)));
    expect((await p.ipvs.services("other").list()).map((each) => each.owned)).toEqual([false]);
    expect(await p.ipvs.destinations("other").list()).toEqual([]);
  });

  test("a mark without its service claims nothing that another makes later", async () => {
    const p = place();
    await p.services.apply(creates(service(web)));
    p.ipvsadm("-D", "-t", "10.96.0.1:80");
    const again = p.again();
    const table = again.services("proxy");
    expect(await table.list()).toEqual([]);
    p.ipvsadm("-A", "-t", "10.96.0.1:80", "-s", "lc");
    const [outcome] = await table.apply(creates(service(web)));
    expect(outcome?.error?.code).toBe("EEXIST");
    expect((await table.list()).map((each) => each.owned)).toEqual([false]);
    expect(p.ipvsadm("-Sn")).toBe("-A -t 10.96.0.1:80 -s lc\n");
  });

  test("marks left over from what never came are removed by the next change", async () => {
    const p = place();
    await p.services.apply(creates(service(web), service(web6)));
    p.ipvsadm("-D", "-t", "10.96.0.1:80");
    const table = p.again().services("proxy");
    await table.list();
    await table.apply([{ verb: "update", item: service(web6, "wrr"), have: service(web6) }]);
    expect(readFileSync(p.ledger, "utf8")).toContain('["-","tcp 10.96.0.1:80"]');
  });

  test("a ledger that cannot be written leaves Linux alone", async () => {
    const p = place();
    writeFileSync(join(p.ledger, ".."), "a file");
    const [outcome] = await p.services.apply(creates(service(web)));
    expect(outcome?.error?.message).toContain("ownership ledger");
    expect(p.ipvsadm("-Sn")).toBe("");
  });

  test("a scheduler that Linux lacks is named with its module, and rr serves meanwhile", async () => {
    const p = place();
    const [outcome, good] = await p.services.apply(
      creates(service(web, "nosuch"), service(web6)),
    );
    expect(outcome?.error?.code).toBe("ENOSUPPORT");
    expect(outcome?.error?.message).toContain('no scheduler "nosuch"');
    expect(outcome?.error?.remedy).toContain("modprobe ip_vs_nosuch");
    expect(good?.error).toBeUndefined();
    expect(outcome?.made).toMatchObject({ id: web, scheduler: "rr" });
    const list = await p.services.list();
    expect(list.map(({ item, owned }) => [item.id.key, item.scheduler, owned]).toSorted())
      .toEqual([[web.key, "rr", true], [web6.key, "rr", true]]);
  });

  test("one bad item costs only itself", async () => {
    const p = place();
    await p.services.apply(creates(service(web)));
    const outcomes = await p.destinations.apply(creates(
      destination(web, "10.1.0.1"),
      destination(web, "not an address"),
      { ...destination(web, "10.1.0.2"), port: 70000 },
      destination(web, "224.0.0.1"),
      destination(web, "10.1.0.3"),
    ));
    expect(outcomes.map((each) => each.error?.code)).toEqual([
      undefined,
      "EINVAL",
      "EINVAL",
      "EINVAL",
      undefined,
    ]);
    expect((await p.destinations.list()).length).toBe(2);
  });

  test("thousands of entries in one apply, and as many refusals", async () => {
    const p = place();
    const ids = Array.from(
      { length: 3000 },
      (_, i) => ipvsServiceId(4, "tcp", `10.97.${i >> 8}.${i & 255}`, 80),
    );
    const members = ids.flatMap((id) => [destination(id, "10.1.0.1"), destination(id, "10.1.0.2")]);
    expect(
      errors(await p.services.apply(creates(...ids.map((id) => service(id))))).every((e) =>
        e === undefined
      ),
    ).toBe(true);
    for (let round = 0; round < 2; round++) {
      // The second time each create is refused with EEXIST and becomes an update.
      const outcomes = await p.destinations.apply(creates(...members));
      expect(outcomes.filter((each) => each.error !== undefined)).toEqual([]);
      expect(outcomes.map((each) => each.op.item)).toEqual(members);
    }
    expect((await p.destinations.list()).length).toBe(6000);
    const again = p.again();
    expect((await again.destinations("proxy").list()).length).toBe(6000);
    expect(p.ipvsadm("-Sn").split("\n").length).toBe(9001);
  });

  test("the table is printed as ipvsadm prints it", async () => {
    const p = place();
    await p.services.apply(creates(
      { ...service(web6, "mh", 60), schedulerFlags: 0x18 },
      service(web),
      service(ipvsServiceId(4, "udp", "10.96.0.2", 53), "wrr"),
      { ...service(ipvsServiceId(4, "sctp", "10.96.0.2", 9), "lc"), schedulerFlags: 0x28 },
      service(ipvsFwmarkId(6, 17)),
      service(ipvsServiceId(4, "tcp", "9.96.0.1", 80)),
    ));
    await p.destinations.apply(creates(
      destination(web6, "fd00:1111:2222:3333:4444:5555:6666:7777", 1000),
      destination(web, "10.1.0.10"),
      destination(web, "9.1.0.2"),
      { ...destination(web, "10.1.0.9", 0), method: "tunnel" },
    ));
    const table = await readIpvsStatistics(p.ipvs.connection);
    const info = readIpvsInfo(await p.ipvs.connection.ready());
    expect(ipvsTableText(info, table)).toBe(p.ipvsadm("-Ln"));
    expect(await readIpvsTable(p.ipvs.connection, 100))
      .toEqual({ text: p.ipvsadm("-Ln"), left: 0 });
    const cut = await readIpvsTable(p.ipvs.connection, 1);
    expect(cut.left).toBe(table.length - 1);
    expect(p.ipvsadm("-Ln").startsWith(cut.text)).toBe(true);
  });

  test("time-outs are set and read", async () => {
    const p = place();
    const handle = await p.ipvs.connection.ready();
    setIpvsTimeouts(handle, { tcp: 800, tcpFin: 0, udp: 250 });
    expect(getIpvsTimeouts(handle)).toEqual({ tcp: 800, tcpFin: 120, udp: 250 });
    expect(p.ipvsadm("-L", "--timeout")).toContain("800 120 250");
  });

  test("a time-out that nobody wants any more is what it was before, after a restart too", async () => {
    const p = place();
    const table = () => {
      const ipvs = p.again();
      const options = { namespace: p.namespace };
      return ipvsTimeoutTable(
        ipvs.connection,
        () => openLedger(dirname(p.ledger), "proxy", "ipvs-timeout", options),
      );
    };
    const now = () => p.ipvsadm("-L", "--timeout").trim().split(": ")[1];
    const [first, before] = [table(), now()];
    expect(await first.list()).toEqual([]);
    const tcp = { name: "tcp", seconds: 300 } as const;
    const udp = { name: "udp", seconds: 20 } as const;
    expect(errors(await first.apply(creates<IpvsTimeout>(tcp, udp)))).toEqual([
      undefined,
      undefined,
    ]);
    expect(now()).toBe("300 120 20");
    await first.apply([{ verb: "update", item: { ...tcp, seconds: 200 }, have: tcp }]);
    expect(now()).toBe("200 120 20");
    const second = table();
    const held = await second.list();
    expect(held).toEqual([
      { item: { ...tcp, seconds: 200 }, owned: true },
      { item: udp, owned: true },
    ]);
    await second.apply(held.map(({ item }) => ({ verb: "delete", item })));
    expect(now()).toBe(before);
    expect(await second.list()).toEqual([]);
    const [refused] = await second.apply(creates<IpvsTimeout>({ ...tcp, seconds: 2 ** 31 }));
    expect(refused?.error?.code).toBe("EINVAL");
  });

  describe("drift", () => {
    test("is reported for each kind of change by others, and not for our own", async () => {
      const p = place();
      const dns = ipvsServiceId(4, "udp", "10.96.0.2", 53);
      await p.services.apply(creates(service(web), service(dns), service(web6)));
      await p.destinations.apply(creates(
        destination(web, "10.1.0.1"),
        destination(web, "10.1.0.2"),
        destination(dns, "10.1.0.3"),
        destination(web6, "fd00::a"),
        destination(web6, "fd00::b"),
      ));
      const seen = await watched(p);
      const quiet = await seen.next();
      expect(quiet).toEqual([]);

      // Weights and settings, a lost and a new destination, a lost service and a new one of another.
      p.ipvsadm("-e", "-t", "10.96.0.1:80", "-r", "10.1.0.1:8080", "-m", "-w", "9");
      p.ipvsadm("-d", "-t", "10.96.0.1:80", "-r", "10.1.0.2:8080");
      p.ipvsadm("-D", "-u", "10.96.0.2:53");
      p.ipvsadm("-A", "-t", "10.96.7.7:80", "-s", "rr");
      p.ipvsadm("-E", "-t", "[fd00::1]:80", "-s", "wrr");
      p.ipvsadm("-d", "-t", "[fd00::1]:80", "-r", "[fd00::b]:8080");
      p.ipvsadm("-a", "-t", "[fd00::1]:80", "-r", "[fd00::c]:8080", "-m");
      expect(await seen.next()).toEqual([
        "gone tcp 10.96.0.1:80 -> 10.1.0.2:8080",
        "gone tcp [fd00::1]:80 -> [fd00::b]:8080",
        "gone udp 10.96.0.2:53",
        "gone udp 10.96.0.2:53 -> 10.1.0.3:8080",
        "now foreign ipvs service tcp 10.96.7.7:80 rr",
        "now ipvs destination tcp 10.96.0.1:80 -> 10.1.0.1:8080 masq weight 9",
        "now ipvs destination tcp [fd00::1]:80 -> [fd00::c]:8080 masq weight 1",
        "now ipvs service tcp [fd00::1]:80 wrr",
      ]);
      expect(await seen.next()).toEqual([]);

      p.ipvsadm("-D", "-t", "10.96.7.7:80");
      expect(await seen.next()).toEqual(["gone tcp 10.96.7.7:80"]);

      const back = destination(web, "10.1.0.2");
      await p.destinations.apply(creates(back));
      seen.believe(back);
      expect(await seen.next()).toEqual([]);
      seen.stop();
    });

    test("of a whole table flushed by others asks for a full list", async () => {
      const p = place();
      const ids = Array.from(
        { length: 600 },
        (_, i) => ipvsServiceId(4, "tcp", `10.97.${i >> 8}.${i & 255}`, 80),
      );
      await p.services.apply(creates(...ids.map((id) => service(id))));
      const seen = await watched(p);
      expect(await seen.next()).toEqual([]);
      p.ipvsadm("-C");
      expect(await seen.next()).toContain("unknown");
      seen.stop();
    });
  });
});

function sorted<T>(items: readonly T[]): readonly string[] {
  return items.map((item) => JSON.stringify(item)).toSorted();
}

interface Watched {
  /** What one check reports, sorted; the runtime's view follows it. */
  next(): Promise<readonly string[]>;
  believe(item: IpvsDestination): void;
  stop(): void;
}

/** Plays the runtime: lists, watches, and takes over what drift says. Checks run when asked, not by the clock. */
async function watched(p: Place): Promise<Watched> {
  const services = new Map<string, Actual<IpvsService>>();
  const destinations = new Map<string, Actual<IpvsDestination>>();
  for (const each of await p.services.list()) services.set(each.item.id.key, each);
  for (const each of await p.destinations.list()) {
    destinations.set(ipvsDestination.key(each.item), each);
  }
  const reports: string[] = [];
  function take<T>(
    actual: Map<string, Actual<T>>,
    describe: (item: T) => string,
  ): (changes: readonly Drift<T>[] | "unknown") => void {
    return (changes) => {
      if (changes === "unknown") return void reports.push("unknown");
      for (const { key, actual: now } of changes) {
        if (now === undefined) actual.delete(key);
        else actual.set(key, now);
        reports.push(
          now === undefined
            ? `gone ${key}`
            : `now ${now.owned ? "" : "foreign "}${describe(now.item)}`,
        );
      }
    };
  }
  const stops = [
    p.services.watch?.({
      actual: services,
      drift: take(services, p.services.resource.describe),
    }),
    p.destinations.watch?.({
      actual: destinations,
      drift: take(destinations, p.destinations.resource.describe),
    }),
  ];
  const handle = await p.ipvs.connection.ready();
  return {
    next: () => {
      p.ipvs.checkDrift("proxy", handle);
      return Promise.resolve(reports.splice(0).toSorted());
    },
    believe: (item) => destinations.set(ipvsDestination.key(item), { item, owned: true }),
    stop: () => stops.forEach((stop) => stop?.()),
  };
}
