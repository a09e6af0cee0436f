/** Our speaker, BIRD, FRR and GoBGP for the same work: passive, in AS 65000, with the same neighbours. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Bird, Frr, Gobgp, until, type World } from "../../test/e2e/bgp/world.ts";

export interface Neighbor {
  readonly address: string;
  readonly asn: number;
}

export interface Setup {
  /** The daemon's own address, in the namespace. */
  readonly local: string;
  readonly neighbors: readonly Neighbor[];
  /** Internal neighbours that are clients of a route reflector. */
  readonly reflector?: boolean;
  /** Seconds. */
  readonly hold: number;
  /** Of the routes, over the same sessions; default: 4. IPv6 is set up for ours and BIRD alone. */
  readonly family?: 4 | 6;
}

export interface Daemon {
  readonly pid: number;
  /** Prefixes that it has received and accepted. */
  readonly routes: () => number | Promise<number>;
}

type Start = (world: World, namespace: string, setup: Setup) => Promise<Daemon>;

export const AS = 65000;

export const DAEMONS: Readonly<Record<string, Start>> = {
  async routelet(world, namespace, { neighbors, reflector, hold, family = 4 }) {
    const us = await world.speaker({
      options: {},
      peers: neighbors.map(({ address, asn }) => ({
        address,
        asn,
        passive: true,
        holdSeconds: hold,
        families: [family],
        export: { statements: [], default: "accept" },
        ...(reflector === true ? { routeReflectorClient: true } : {}),
      })),
    }, namespace);
    return {
      pid: us.pid,
      routes: async () =>
        (await us.neighbors()).reduce((sum, { prefixes }) => sum + prefixes[family].accepted, 0),
    };
  },
  async bird(world, namespace, { local, neighbors, reflector, hold, family = 4 }) {
    const common = `hold time ${hold}; passive on; startup hold time 240;
  ipv${family} { import all; export all; gateway direct; };`;
    // Its dynamic neighbours take the place of a list.
    const protocols = reflector === true
      ? `protocol bgp clients { local ${local} as ${AS}; neighbor range ${network(local)} as ${AS};
  dynamic name "p"; rr client; direct; ${common} }`
      : neighbors.map(({ address, asn }, i) =>
        `protocol bgp sp${i} { local ${local} as ${AS}; neighbor ${address} as ${asn}; ${common} }`
      ).join("\n");
    const bird = new Bird(world, namespace, 1, protocols);
    await until("BIRD answers", () => bird.ask("show status").includes("up and running"));
    return {
      pid: bird.pid,
      routes: () =>
        Number(
          new RegExp(`([0-9]+) of .*master${family}`).exec(bird.ask("show route count"))?.[1] ?? 0,
        ),
    };
  },
  async frr(world, namespace, { neighbors, reflector, hold }) {
    const each = neighbors.flatMap(({ address, asn }) => [
      ` neighbor ${address} remote-as ${asn}`,
      ` neighbor ${address} passive`,
      ` neighbor ${address} timers ${Math.floor(hold / 3)} ${hold}`,
      ` neighbor ${address} advertisement-interval 0`,
      ...(reflector === true ? [` neighbor ${address} route-reflector-client`] : []),
    ]);
    const frr = new Frr(
      world,
      namespace,
      1,
      `router bgp ${AS}\n bgp router-id 10.255.0.9\n no bgp ebgp-requires-policy\n${
        each.join("\n")
      }`,
    );
    await until("FRR answers", () => frr.json("show bgp summary") !== undefined);
    const pid = await until(
      "bgpd runs",
      () => Number(readFileSync(join(frr.folder, "bgpd.pid"), "utf8")),
    );
    return {
      pid,
      routes: () => {
        const peers = frr.json("show bgp ipv4 unicast summary").peers as Readonly<
          Record<string, { readonly pfxRcd?: number }>
        >;
        return Object.values(peers).reduce((sum, { pfxRcd }) => sum + (pfxRcd ?? 0), 0);
      },
    };
  },
  async gobgp(world, namespace, { neighbors, reflector, hold }) {
    const each = neighbors.map(({ address, asn }) =>
      `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = ${asn}
  [neighbors.timers.config]
    hold-time = ${hold}
    keepalive-interval = ${Math.floor(hold / 3)}
  [neighbors.transport.config]
    passive-mode = true
${
        reflector === true
          ? `  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "10.255.0.9"\n`
          : ""
      }`
    );
    const gobgp = new Gobgp(
      world,
      namespace,
      1,
      `[global.config]\n  as = ${AS}\n  router-id = "10.255.0.9"\n${each.join("")}`,
    );
    await until("GoBGP answers", () => gobgp.ask("global").includes(`${AS}`));
    await until(
      "GoBGP has its neighbours",
      () => gobgp.ask("neighbor").split("\n").length > neighbors.length,
    );
    return {
      pid: gobgp.pid,
      routes: () =>
        Number(/Destination: ([0-9]+)/.exec(gobgp.ask("global", "rib", "summary"))?.[1] ?? 0),
    };
  },
};

function network(address: string): string {
  const [a, b] = address.split(".");
  return `${a}.${b}.0.0/16`;
}

export interface Usage {
  /** Processor time in ms, by ticks of 10. */
  readonly cpu: number;
  /** Resident bytes. */
  readonly rss: number;
}

/** Threads of our engine that compile and collect beside the work; what they do when it is done delays nothing. */
const BESIDE = /^(JITWorker|JSCWarmUp|HeapHelper|mi-scavenger|Collector Thread|JSC )/;

/** Nanoseconds of processor time that its threads have worked. */
export function work(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const folder = `/proc/${pid}/task/${thread}`;
      if (BESIDE.test(readFileSync(`${folder}/comm`, "utf8"))) continue;
      sum += Number(readFileSync(`${folder}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // It has ended.
    }
  }
  return sum;
}

export function usage(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    cpu: 10 * (Number(fields[11]) + Number(fields[12])),
    rss: Number(fields[21]) * 4096,
  };
}
