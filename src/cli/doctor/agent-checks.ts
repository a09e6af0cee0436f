/** Checks for other agents on this host, what they left, and the CNI configuration. Pure. */

import type { Flags } from "../flags.ts";
import { fail, type Finding, ok, skip, warn } from "./findings.ts";
import type { DoctorHost } from "./host.ts";
import type { Runs } from "./linux-checks.ts";

interface Agent {
  readonly name: string;
  /** As /proc/<pid>/comm has it: 15 characters at most. */
  readonly processes: readonly string[];
  /** Which of our plugins would fight with it. */
  readonly meets: readonly (keyof Runs)[];
  readonly fix: string;
}

const AGENTS: readonly Agent[] = [
  {
    name: "kube-proxy",
    processes: ["kube-proxy"],
    meets: ["proxy"],
    fix: 'remove its DaemonSet, then "routelet migrate --from kube-proxy"',
  },
  {
    name: "kube-router",
    processes: ["kube-router"],
    meets: ["proxy", "router", "firewall"],
    fix: 'remove its DaemonSet, then "routelet migrate --from kube-router"',
  },
  {
    name: "Calico",
    processes: ["calico-node", "calico-felix", "felix"],
    meets: ["router", "firewall"],
    fix: "remove Calico, or run routelet with --run-router=false --run-firewall=false",
  },
  {
    name: "Cilium",
    processes: ["cilium-agent", "cilium"],
    meets: ["proxy", "router", "firewall"],
    fix: "remove Cilium: it takes packets before Linux's own tables see them",
  },
  {
    name: "flannel",
    processes: ["flanneld"],
    meets: ["router"],
    fix: "remove flannel, or run routelet with --run-router=false",
  },
  {
    name: "BIRD",
    processes: ["bird", "bird6"],
    meets: ["router"],
    fix: "let it listen on another port than 179 and leave our routes alone, or remove it",
  },
  {
    name: "firewalld",
    processes: ["firewalld"],
    meets: ["proxy", "firewall"],
    fix: "disable firewalld on nodes: it may drop what was accepted",
  },
];

/** A kind of thing that an agent leaves behind. */
interface Leftover {
  readonly name: string;
  readonly fix: string;
  find(host: DoctorHost): readonly string[];
}

const MIGRATE = (from: string) => `stop it for good, then "routelet migrate --from ${from}"`;

const LEFTOVERS: readonly Leftover[] = [
  {
    name: "kube-proxy",
    fix: MIGRATE("kube-proxy"),
    find: ({ chains = [], links, nftTables }) => [
      ...some(
        chains.filter(({ chain }) =>
          /^KUBE-(SERVICES|NODEPORTS|SVC-|SEP-|FW-|EXT-|POSTROUTING|MARK-MASQ|FORWARD|PROXY-)/.test(
            chain,
          )
        ),
        "chains KUBE-…",
      ),
      ...links.filter(({ name }) => name === "kube-ipvs0").map(({ name }) => `link ${name}`),
      ...nftTables.filter(({ name }) => name === "kube-proxy").map(({ family, name }) =>
        `nft table ${family} ${name}`
      ),
    ],
  },
  {
    name: "kube-router",
    fix: MIGRATE("kube-router"),
    find: ({ links }) =>
      links.filter(({ name, alias }) => name === "kube-dummy-if" && !alias.startsWith("routelet:"))
        .map(({ name }) => `link ${name} without our mark`),
  },
  {
    name: "Calico",
    fix: "reboot the node, or remove its chains, links and routes by Calico's own clean-up",
    find: ({ chains = [], links }) => [
      ...some(chains.filter(({ chain }) => chain.startsWith("cali-")), "chains cali-…"),
      ...links.filter(({ name }) => /^(vxlan\.calico|tunl0\.calico)$/.test(name)).map(({ name }) =>
        `link ${name}`
      ),
    ],
  },
  {
    name: "Cilium",
    fix: 'run "cilium-dbg post-uninstall-cleanup", or reboot the node',
    find: ({ chains = [], links }) => [
      ...some(chains.filter(({ chain }) => /^(OLD_)?CILIUM_/.test(chain)), "chains CILIUM_…"),
      ...links.filter(({ name }) => name.startsWith("cilium_")).map(({ name }) => `link ${name}`),
    ],
  },
  {
    name: "flannel",
    fix: "ip link delete flannel.1",
    find: ({ links }) =>
      links.filter(({ name }) => /^flannel/.test(name)).map(({ name }) => `link ${name}`),
  },
];

function some(found: readonly unknown[], what: string): readonly string[] {
  return found.length === 0 ? [] : [`${found.length} ${what}`];
}

export function agentFindings(host: DoctorHost, flags: Flags, runs: Runs): readonly Finding[] {
  const findings: Finding[] = [];
  for (const { name, processes, meets, fix } of AGENTS) {
    const found = host.processes.find((each) => processes.includes(each.name));
    if (found === undefined || !meets.some((plugin) => runs[plugin] === true)) continue;
    findings.push(
      fail(
        `agents/${name.toLowerCase()}`,
        `${name} runs here (process ${found.pid}): both would program the same things`,
        fix,
      ),
    );
  }
  for (const { name, fix, find } of LEFTOVERS) {
    const things = find(host);
    if (things.length === 0) continue;
    findings.push(
      warn(`leftovers/${name.toLowerCase()}`, `${name} left ${things.join(", ")}`, fix),
    );
  }
  if (findings.length === 0) {
    findings.push(ok("agents", "no other agent runs here, and none left anything"));
  }
  return [...findings, ...cniFindings(host, flags, runs)];
}

const CNI_FOLDER = "/etc/cni/net.d";
const CNI_BINARIES = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

function cniFindings(host: DoctorHost, flags: Flags, runs: Runs): readonly Finding[] {
  if (!runs.router || !flags.enableCni) {
    return [skip("cni", "the router writes no CNI configuration")];
  }
  const confs = host.list(CNI_FOLDER).filter((name) => /\.(conf|conflist|json)$/.test(name));
  const own = confs.find((name) => name.startsWith("10-kuberouter."));
  const findings: Finding[] = [];
  const install =
    `put a configuration with a bridge plugin there as 10-kuberouter.conflist, name another by KUBE_ROUTER_CNI_CONF_FILE, ` +
    "or set --enable-cni=false";
  if (own === undefined) {
    findings.push(
      fail(
        "cni/conf",
        `${CNI_FOLDER} holds no 10-kuberouter.conf or .conflist for the router`,
        install,
      ),
    );
  } else if (confs[0] !== own) {
    findings.push(warn(
      "cni/conf",
      `the kubelet takes ${confs[0]}, the first in ${CNI_FOLDER}, and not ${own}`,
      `remove ${CNI_FOLDER}/${confs[0]} where its agent is gone`,
    ));
  } else findings.push(ok("cni/conf", `${CNI_FOLDER}/${own} is the one that the kubelet takes`));
  const missing = ["bridge", "host-local"].filter((name) =>
    !CNI_BINARIES.some((folder) => host.exists(`${folder}/${name}`))
  );
  findings.push(
    missing.length === 0
      ? ok("cni/plugins", "the plugins bridge and host-local are installed")
      : fail(
        "cni/plugins",
        `there is no CNI plugin ${missing.join(" and ")} in ${
          CNI_BINARIES.join(" or ")
        }: no pod can start`,
        "install the package containernetworking-plugins, or unpack the release of containernetworking/plugins",
      ),
  );
  return findings;
}
