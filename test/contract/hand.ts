/** What another tool does to Linux, in that tool's words. */

import type {
  Address,
  Bridge,
  Chain,
  IpSet,
  IpSetMember,
  IpvsDestination,
  IpvsService,
  Jump,
  Link,
  PodAddress,
  PodLink,
  Route,
  Rule,
  Sysctl,
} from "../../src/kernel/dataplane/resources/mod.ts";
import type { Hand } from "./world.ts";

type Run = (...argv: readonly string[]) => void;

export function hand(
  onNode: Run,
  inPod: Run,
  netfilter: "iptables" | "nftables" = "iptables",
): Hand {
  const act = (verb: "add" | "del", kind: string, item: unknown): void => {
    const words = netfilter === "nftables" ? nftCommands[kind] ?? commands[kind] : commands[kind];
    if (words === undefined) throw new Error(`No tool for kind "${kind}"`);
    words(kind.startsWith("pod.") ? inPod : onNode, verb, item);
  };
  return {
    add: (kind, item) => act("add", kind, item),
    remove: (kind, item) => act("del", kind, item),
  };
}

const commands: Readonly<Record<string, (run: Run, verb: "add" | "del", item: unknown) => void>> = {
  link(run, verb, item) {
    const { name, type } = item as Link;
    run("ip", "link", verb, name, "type", type);
  },
  bridge(run, verb, item) {
    const { name } = item as Bridge;
    run("ip", "link", verb, name, "type", "bridge");
  },
  address(run, verb, item) {
    const { family, address, prefix, link } = item as Address;
    const quick = verb === "add" && family === 6 ? ["nodad"] : [];
    run("ip", `-${family}`, "addr", verb, `${address}/${prefix}`, "dev", link, ...quick);
  },
  "pod.link"(run, verb, item) {
    const { name, type, pod } = item as PodLink;
    run("ip", "link", verb, name, "type", type, ...(verb === "add" ? ["local", pod] : []));
  },
  "pod.address"(run, verb, item) {
    const { family, address, prefix, link } = item as PodAddress;
    run("ip", `-${family}`, "addr", verb, `${address}/${prefix}`, "dev", link);
  },
  route(run, verb, item) {
    const { family, type, destination, table, metric, nextHops, source } = item as Route;
    const [hop] = nextHops;
    run(
      "ip",
      `-${family}`,
      "route",
      verb,
      type,
      destination,
      ...(hop?.gateway === undefined ? [] : ["via", hop.gateway]),
      ...(hop?.link === undefined ? [] : ["dev", hop.link]),
      "table",
      String(table),
      ...(metric === 0 ? [] : ["metric", String(metric)]),
      ...(source === undefined || verb === "del" ? [] : ["src", source]),
    );
  },
  rule(run, verb, item) {
    const { family, priority, from, to, mark, mask, table } = item as Rule;
    run(
      "ip",
      `-${family}`,
      "rule",
      verb,
      "from",
      from ?? "all",
      ...(to === undefined ? [] : ["to", to]),
      ...(mark === undefined ? [] : ["fwmark", `${mark}/${mask ?? 0xffffffff}`]),
      "priority",
      String(priority),
      "table",
      String(table),
    );
  },
  sysctl(run, _, item) {
    const { path, value } = item as Sysctl;
    run("sysctl", "-qw", `${path.replaceAll("/", ".")}=${value}`);
  },
  ipset(run, verb, item) {
    const { name, type, family } = item as IpSet;
    if (verb === "del") run("ipset", "destroy", name);
    else run("ipset", "create", name, type, "family", family === 4 ? "inet" : "inet6");
  },
  "ipset.member"(run, verb, item) {
    const { set, entry } = item as IpSetMember;
    run("ipset", verb, set, entry);
  },
  chain(run, verb, item) {
    const { family, table, name } = item as Chain;
    shell(
      run,
      family,
      verb === "add"
        ? `$T -t ${table} -N ${name}`
        : `$T -t ${table} -F ${name}; $T -t ${table} -X ${name}`,
    );
  },
  jump(run, verb, item) {
    const { family, table, from, to } = item as Jump;
    shell(
      run,
      family,
      verb === "add"
        ? `$T -t ${table} -A ${from} -j ${to}`
        : `$T -t ${table} -S ${from} | grep -e "-j ${to}$" | sed "s/^-A/*${table}\\n-D/; s/$/\\nCOMMIT/" | $T-restore --noflush`,
    );
  },
  "ipvs.service"(run, verb, item) {
    const { id, scheduler } = item as IpvsService;
    const where = [`-${id.protocol[0]}`, serviceWords(id)];
    if (verb === "add") run("ipvsadm", "-A", ...where, "-s", scheduler);
    else run("ipvsadm", "-D", ...where);
  },
  "ipvs.destination"(run, verb, item) {
    const { service, address, port, weight } = item as IpvsDestination;
    const there = service.family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
    const where = [`-${service.protocol[0]}`, serviceWords(service), "-r", there];
    if (verb === "add") run("ipvsadm", "-a", ...where, "-m", "-w", String(weight));
    else run("ipvsadm", "-d", ...where);
  },
};

/** What `nft` does to the table of ours; it adds nothing of others there. */
const nftCommands: Readonly<
  Record<string, (run: Run, verb: "add" | "del", item: unknown) => void>
> = {
  ipset(run, _, item) {
    const { name, family } = item as IpSet;
    run("nft", "delete", "set", nftFamily(family), "routelet", name.replace("inet6:", ""));
  },
  "ipset.member"(run, _, item) {
    const { set, entry } = item as IpSetMember;
    const family = set.startsWith("inet6:") ? 6 : 4;
    const element = entry.split(",").map((part) => part.replace(/^(tcp|udp|sctp):/, "$1 . "))
      .join(" . ");
    const name = set.replace("inet6:", "");
    run("nft", "delete", "element", nftFamily(family), "routelet", name, `{ ${element} }`);
  },
  chain(run, _, item) {
    const { family, table, name } = item as Chain;
    const chain = [nftFamily(family), "routelet", table === "filter" ? name : `${table}/${name}`];
    run("nft", "flush", "chain", ...chain);
    run("nft", "delete", "chain", ...chain);
  },
  jump(run, _, item) {
    const { family, table, from, first } = item as Jump;
    const name = `${table === "filter" ? "" : `${table}/`}${from}${first === true ? "" : "-late"}`;
    run("nft", "flush", "chain", nftFamily(family), "routelet", name);
  },
};

function nftFamily(family: 4 | 6): string {
  return family === 4 ? "ip" : "ip6";
}

function serviceWords({ family, address, port }: IpvsService["id"]): string {
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

/** $T is the variant that works here: without nf_tables for IPv4 only the legacy one does. */
function shell(run: Run, family: number, script: string): void {
  const tool = family === 4 ? "iptables" : "ip6tables";
  const choose =
    `T=${tool}; $T -t nat -N P_$$ 2>/dev/null && $T -t nat -X P_$$ || T=${tool}-legacy`;
  run("sh", "-c", `${choose}; ${script}`);
}
