/** BGP for people, in the columns that `gobgp` prints. Pure: ages are counted from the answer's own clock. */

import type { NeighborView, PathView } from "../plugins/router/bgp/mod.ts";
import type {
  GlobalAnswer,
  NeighborsAnswer,
  RibAnswer,
  WhyAnswer,
} from "../plugins/router/answers.ts";
import { compareIps } from "../kernel/ip.ts";

/** `gobgp global`. */
export function globalText(
  { asn, routerId, port, addresses = [], problems }: GlobalAnswer,
): string {
  const lines = asn === undefined ? ["BGP does not run"] : [
    `AS:        ${asn}`,
    `Router-ID: ${routerId}`,
    `Listening Port: ${port}, Addresses: ${addresses.join(", ")}`,
  ];
  return block([...lines, ...problems.map((problem) => `problem: ${problem}`)]);
}

const STATES: Readonly<Record<NeighborView["state"], string>> = {
  Idle: "Idle",
  Connect: "Connect",
  Active: "Active",
  OpenSent: "Sent",
  OpenConfirm: "Confirm",
  Established: "Establ",
};

/** `gobgp neighbor`. */
export function neighborsText({ neighbors, now }: NeighborsAnswer): string {
  const rows = neighbors.toSorted((a, b) => compareIps(a.address, b.address)).map((neighbor) => {
    const { state, asn, configuredAsn, prefixes } = neighbor;
    const up = state === "Established";
    const sum = (field: "received" | "accepted"): number =>
      up ? prefixes[4][field] + prefixes[6][field] : 0;
    return {
      peer: neighbor.address,
      asn: String(asn === 0 ? configuredAsn || "*" : asn),
      age: neighbor.established === 0 && !up ? "never" : ageText(now - neighbor.since),
      state: STATES[state],
      received: sum("received"),
      accepted: sum("accepted"),
    };
  });
  const wide = (field: "peer" | "asn" | "age", title: string): number =>
    Math.max(title.length, ...rows.map((row) => row[field].length));
  const peer = wide("peer", "Peer");
  const asn = wide("asn", "AS");
  const age = wide("age", "Up/Down");
  return block([
    `${"Peer".padEnd(peer)} ${"AS".padStart(asn)} ${"Up/Down".padStart(age)} ${
      "State".padEnd(11)
    } |#Received  Accepted`,
    ...rows.map((row) =>
      `${row.peer.padEnd(peer)} ${row.asn.padStart(asn)} ${row.age.padStart(age)} ${
        row.state.padEnd(11)
      } |${String(row.received).padStart(9)} ${String(row.accepted).padStart(9)}`
    ),
  ]);
}

/** `gobgp neighbor ADDRESS`. */
export function neighborText({ neighbors, now }: NeighborsAnswer): string {
  return neighbors.map((n) =>
    block([
      `BGP neighbor is ${n.address}, remote AS ${
        n.asn || n.configuredAsn || "unknown"
      }, ${n.type} link`,
      `  BGP version 4, remote router ID ${n.routerId ?? "unknown"}`,
      `  BGP state = ${n.state.toUpperCase()}, for ${ageText(now - n.since)}`,
      `  Established ${n.established} times, lost ${n.flaps} times`,
      ...(n.lastError === undefined ? [] : [`  Last error: ${n.lastError}`]),
      ...(n.bfd === undefined ? [] : [`  BFD is ${n.bfd}`]),
      ...(n.restartingUntil === undefined ? [] : ["  It restarts; its routes are kept meanwhile"]),
      `  Local address is ${n.localAddress ?? "unknown"}`,
      `  Hold time is ${n.holdSeconds ?? "not negotiated"}, keepalive interval is ${
        n.keepaliveSeconds ?? "not negotiated"
      } seconds`,
      "  Neighbor capabilities:",
      ...capabilityLines(n),
      "  Message statistics:",
      "                         Sent       Rcvd",
      ...messageLines(n),
      "  Route statistics:",
      ...([4, 6] as const).flatMap((family) => {
        const { advertised, received, accepted, stale } = n.prefixes[family];
        return n.families.includes(family)
          ? [
            `    IPv${family}: advertised ${advertised}, received ${received}, accepted ${accepted}, stale ${stale}`,
          ]
          : [];
      }),
    ])
  ).join("\n");
}

function capabilityLines({ capabilities: { sent, received } }: NeighborView): readonly string[] {
  return [...new Set([...sent, ...received])].map((name) => {
    const sides = [
      ...(sent.includes(name) ? ["advertised"] : []),
      ...(received.includes(name) ? ["received"] : []),
    ];
    return `    ${name}: ${sides.join(" and ")}`;
  });
}

const MESSAGES = {
  open: "Opens",
  notification: "Notifications",
  update: "Updates",
  keepalive: "Keepalives",
  refresh: "Route Refresh",
} as const;

function messageLines({ sent, received }: NeighborView): readonly string[] {
  return Object.entries(MESSAGES).map(([field, name]) => {
    const of = (side: typeof sent): string => String(side[field as keyof typeof MESSAGES]);
    return `    ${`${name}:`.padEnd(15)} ${of(sent).padStart(9)} ${of(received).padStart(10)}`;
  });
}

/** `gobgp global rib`, and `gobgp neighbor … adj-in|adj-out`. */
export function ribText({ paths, now, which, more }: RibAnswer): string {
  if (paths.length === 0) return "Network not in table\n";
  const sorted = paths.toSorted((a, b) =>
    comparePrefixes(a.prefix, b.prefix) || Number(b.best) - Number(a.best)
  );
  const rows = sorted.map((path) => ({
    symbols: `${path.stale ? "S" : ""}${which === "out" ? "" : "*"}${path.best ? ">" : ""}`,
    network: path.prefix,
    nextHop: path.nextHop ?? "self",
    asPath: path.asPath,
    age: which === "out" ? "" : ageText(now - path.since),
    attributes: `[${attributes(path).join(" ")}]`,
    rest: [
      ...(path.peer === undefined ? [] : [`${which === "out" ? "to" : "from"} ${path.peer}`]),
      ...(path.plugins === undefined ? [] : [`by plugin ${path.plugins.join(" and ")}`]),
      ...(path.rejected === undefined ? [] : [`rejected: ${path.rejected}`]),
    ].join(", "),
  }));
  const wide = (field: "network" | "nextHop" | "asPath"): number =>
    Math.max(20, ...rows.map((row) => row[field].length));
  const widths = { network: wide("network"), nextHop: wide("nextHop"), asPath: wide("asPath") };
  const line = (row: Omit<(typeof rows)[number], "rest"> & { rest?: string }): string =>
    [
      row.symbols.padEnd(2),
      row.network.padEnd(widths.network),
      row.nextHop.padEnd(widths.nextHop),
      row.asPath.padEnd(widths.asPath),
      row.age.padEnd(10),
      row.attributes,
      row.rest ?? "",
    ].join(" ").trimEnd();
  return block([
    line({
      symbols: "",
      network: "Network",
      nextHop: "Next Hop",
      asPath: "AS_PATH",
      age: "Age",
      attributes: "Attrs",
    }),
    ...rows.map(line),
    ...(more ? [`… and more; "routelet bgp rib ${which}" prints all`] : []),
  ]);
}

const ORIGIN = { igp: "i", egp: "e", incomplete: "?" } as const;

function attributes(path: PathView): readonly string[] {
  return [
    `{Origin: ${ORIGIN[path.origin]}}`,
    ...(path.med === undefined ? [] : [`{Med: ${path.med}}`]),
    ...(path.localPref === undefined ? [] : [`{LocalPref: ${path.localPref}}`]),
    ...(path.communities.length === 0 ? [] : [`{Communities: ${path.communities.join(", ")}}`]),
    ...(path.largeCommunities.length === 0
      ? []
      : [`{LargeCommunities: ${path.largeCommunities.join(", ")}}`]),
    ...(path.originatorId === undefined ? [] : [`{Originator: ${path.originatorId}}`]),
    ...(path.clusterList.length === 0 ? [] : [`{ClusterList: [${path.clusterList.join(" ")}]}`]),
  ];
}

/** Why a prefix is, or is not, used, advertised and in Linux. */
export function whyText(why: WhyAnswer): string {
  const lines = [why.prefix];
  if (why.covering !== undefined) {
    lines.push(
      `  It is not known itself; the longest known network that covers it is ${why.covering}`,
    );
  }
  lines.push(...[...why.services, ...why.plugins].map((text) => `  ${text}`));
  if (why.paths.length === 0) lines.push("  No path to it is known");
  for (const path of why.paths) {
    const from = path.peer === undefined ? "our own" : `from ${path.peer}`;
    const state = path.rejected !== undefined
      ? `rejected: ${path.rejected}`
      : path.lost === undefined
      ? "used"
      : path.multipath
      ? "used beside the best"
      : `not used: ${path.lost}`;
    lines.push(`  path by ${path.nextHop ?? "self"} (${from}): ${state}`);
  }
  lines.push(...why.linux.routes.map((text) => `  in Linux: ${text}`));
  lines.push(...why.linux.problems.map((text) => `  not in Linux: ${text}`));
  for (const { peer, advertised, reason } of why.peers) {
    lines.push(`  ${advertised ? "advertised" : "not advertised"} to ${peer}: ${reason}`);
  }
  return block(lines);
}

/** `HH:MM:SS`, or `<d>d HH:MM:SS`. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number): string => String(value).padStart(2, "0");
  const days = Math.floor(seconds / 86_400);
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  return `${days > 0 ? `${days}d ` : ""}${clock.map(two).join(":")}`;
}

function comparePrefixes(a: string, b: string): number {
  const [left = "", leftLength = ""] = a.split("/");
  const [right = "", rightLength = ""] = b.split("/");
  return compareIps(left, right) || Number(leftLength) - Number(rightLength);
}

function block(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
