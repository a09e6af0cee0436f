/**
 * The messages that people meet, with what they mean and what helps: the reference page of errors. Nothing here runs. What stands in
 * `code` is held equal to the code by a test: a new message needs a row, and a row whose message is gone fails too.
 */

import { LINUX, LOG, OBJECTS } from "./messages-at-work.ts";

export interface Message {
  /** As it is read, with "…" for what varies. */
  readonly says: string;
  /** The literals of the code that say it, "…" for each `${}`; `says` itself where absent. */
  readonly code?: readonly string[];
  readonly means: string;
  /** What helps, unless the message says it. */
  readonly remedy?: string;
}

export interface MessageSection {
  readonly title: string;
  readonly introduction: string;
  readonly messages: readonly Message[];
}

const COMMAND_LINE: MessageSection = {
  title: "The command line",
  introduction:
    "Exit code 2, 1 for `plan`. All that is wrong is listed at once; `routelet help` has the flags, `routelet help COMMAND` a command.",
  messages: [
    {
      says: 'Unknown flag "…"; did you mean "--…"',
      code: ['Unknown flag "…"…', 'Unknown flag "…"; did you mean "--…=false"'],
      means: "neither kube-router nor routelet has it",
    },
    {
      says: 'Unknown command "…"; did you mean "…"',
      code: [
        'Unknown command "…"; commands are …',
        'Unknown command "…"; did you mean "…"',
      ],
      means: "no command is called so",
    },
    { says: "Flag … needs a value: …", means: "what is allowed stands behind the colon" },
    {
      says: 'Flag … cannot be "…": allowed is …',
      code: [
        "Flag … cannot be …: allowed is …",
        'Flag --… cannot be "…": allowed is a duration above 0 up to …',
        "Flag --service-cluster-ip-range cannot be empty: allowed are one or two CIDRs",
        'Flag --service-cluster-ip-range cannot be "…": allowed are one or two CIDRs, one a family',
        'Flag --service-cluster-ip-range cannot be "…": two CIDRs must be one IPv4 and one IPv6',
      ],
      means: "the value is none of the flag's type, or out of its range",
    },
    {
      says: 'Flag --… cannot hold the IPv… CIDR "…" while --enable-ipv…=false',
      code: ['Flag --… cannot hold the IPv… CIDR "…" while --enable-ipv…=false…'],
      means: "an address of a family that is off",
    },
    {
      says: "Flags … and … cannot …",
      code: [
        "Flags --enable-ipv4 and --enable-ipv6 cannot both be false: nothing would be served",
        "Flags --manifests and … cannot be used together: objects come from a folder or from an API server",
        "Flags --netfilter=iptables and --use-nftables-for-netpol contradict each other: give one of them",
        "Flags --run-loadbalancer and --manifests cannot be used together: addresses are written to an API server",
      ],
      means: "two flags contradict each other; the message says how",
    },
    {
      says: "Flag --… has … values for … in --peer-router-ips: allowed is …",
      code: [
        "Flag --peer-router-asns has … values for … in --peer-router-ips: allowed is one each",
        "Flag --… has … values for … in --peer-router-ips: allowed is none or one each",
        'Flag --peer-router-ips cannot name "…" twice',
      ],
      means: "the lists of BGP peers belong together, value by value",
    },
    {
      says: 'Flag --loadbalancer-ip-range cannot hold "…" with --run-loadbalancer: …',
      code: [
        'Flag --loadbalancer-ip-range cannot hold "…" with --run-loadbalancer: it overlaps the cluster IPs of --service-cluster-ip-range "…"; give another range',
      ],
      means: "an address could be given twice",
    },
    {
      says:
        "Flag --run-loadbalancer gives no Service an address without --loadbalancer-ip-range; …",
      code: [
        "Flag --run-loadbalancer gives no Service an address without --loadbalancer-ip-range; give it ranges",
      ],
      means: "a warning: there is nothing to give",
    },
    {
      says: "Flag --… is ignored: …",
      means: "a warning: a flag of older releases, with its successor",
    },
    {
      says: "Flag --… does not do all of it: …",
      means: "a warning: a part of what kube-router does by it",
    },
    {
      says: "Flags without effect in this version: …",
      means: "a warning: they are taken and do nothing yet",
    },
  ],
};

const START: MessageSection = {
  title: "Commands and the agent's start",
  introduction:
    "Exit code 1, the agent's after `Cannot run  reason=…`. A DaemonSet or systemd starts it again.",
  messages: [
    { says: "Cannot run", means: "the agent ends; `reason` is one of these messages" },
    {
      says: 'Cannot listen on "…" (--runtime-dir): …',
      code: [
        'Cannot listen on "…" (--runtime-dir): …',
        'Cannot listen on "…" (--runtime-dir): a socket\'s path has at most 107 bytes',
      ],
      means:
        "the agent's socket cannot be made: another agent answers on it, or the folder is at fault",
      remedy: "one agent a node: stop the other, or give this one its own folder",
    },
    {
      says: 'Cannot listen on "…" (--…-addr, --…-port): …',
      code: ['Cannot listen on "…" (…, …): …'],
      means: "a port of health, metrics or the live page; a process that has it is named",
      remedy: "stop that process, or choose another port",
    },
    {
      says: 'Cannot ask the agent at "…": not permitted; run as root',
      means: "the agent's socket is for root alone",
    },
    {
      says: "Cannot install …: …",
      code: [
        "Nothing was written",
        'Cannot install "…": it is no routelet; run make build, and install that',
        'Cannot install "…": …',
        'Cannot install the CNI configuration "…": "…" is in that folder, and kubelet takes the first by name; remove it if routelet is to be the network of pods, or set --enable-cni=false',
        'Cannot write flag --… to "…": its value "…" has a blank, quote, backslash or dollar; write that file yourself after the installation',
      ],
      means: "`install` overwrites nothing of others; nothing was written",
    },
    {
      says: 'Cannot use "…/installed.json" …',
      code: [
        'Cannot use "…": a symbolic link leads out of "…"; remove the link',
        'Cannot use "…", which says what was installed: …; remove it, and then by hand what it can no longer name',
        'Cannot use "…": …; repair it',
      ],
      means: "the record of the installation, or the CNI template, is damaged",
    },
    {
      says: "Cannot make systemd read the unit: …",
      means: "`systemctl daemon-reload` failed with that text",
      remedy: "mend systemd, then install again",
    },
    {
      says: "Cannot stop the agent by systemctl: …",
      means: "`uninstall` removes nothing beneath an agent that runs",
      remedy: "end the agent, then uninstall again",
    },
    {
      says: "Cannot clean up: …",
      code: [
        "Cannot clean up: …",
        "Cannot clean up: an agent runs on this node and would put everything back; stop it first",
      ],
      means: "an agent runs, or Linux could not be read; nothing was removed",
    },
    {
      says: "Cannot migrate: … runs here as process … and would put everything back; …",
      code: [
        "Cannot migrate: … runs here as process … and would put everything back; remove its DaemonSet or stop it first (what it made in Linux goes on)",
      ],
      means: "two programs would take things from each other in turns",
    },
    {
      says: "Cannot plan: …",
      means: "the cluster or Linux could not be read; the reason is one of these messages",
    },
    {
      says: 'The command "…" must run as root: …',
      code: [
        'The command "…" must run as root: it programs IPVS, addresses, routes and packet rules of Linux; use sudo, or a privileged pod',
      ],
      means: "it reads or changes Linux",
    },
    {
      says: 'Command "…" takes: …',
      code: ['Command "bgp" takes: …', 'Command "plugin" takes: …', 'Command "policy" takes: …'],
      means: "the words behind the command are none of its own",
    },
    {
      says: 'Cannot do "plugin …": …',
      means: "a file that is there, or is none; a name that cannot be",
    },
    {
      says: 'The plan is not that of "…/plan.txt"; …',
      code: ['The plan is not that of "…"; compare, and write it anew if it is'],
      means: "`plugin test`: the plugin wants something else than it did",
    },
    {
      says: "The JavaScript engine runs without …: …",
      means:
        "Linux refused to start the executable anew with its settings: more memory, else all well",
    },
    {
      says: "Cannot adopt …: …, Cannot remove …: …",
      code: ["Cannot … …: …"],
      means: "`migrate` could not adopt or remove this; the last part is Linux's reason",
    },
    {
      says: "Cannot return to the own network namespace: …",
      means: "Linux refused a setns(2) into a namespace that is open: the agent ends at once",
      remedy: "please report it",
    },
    {
      says: "Cannot load libc: …",
      means: "no glibc: an Alpine image, for example",
      remedy: "use the image of `make image`, or a host with glibc 2.17 or newer",
    },
  ],
};

const API: MessageSection = {
  title: "Credentials and the API server",
  introduction:
    "Until the first lists are there the node is not ready, and Linux stays as it is. Later, what was read holds. The agent tries again by itself, and reads changed files again.",
  messages: [
    {
      says: "Cannot find the API server: neither --kubeconfig nor --master is set, …",
      code: [
        "Cannot find the API server: neither --kubeconfig nor --master is set, and KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not in the environment, so this is no pod: set --kubeconfig, or --manifests for a folder of YAML",
      ],
      means: "outside of a pod one of them is needed",
    },
    {
      says: 'Cannot read kubeconfig "…": …',
      code: [
        "Cannot read …: …: correct --kubeconfig, or what may read the file",
        'Cannot read … "…": …: …',
        "Cannot parse …: line …: …: correct the file",
      ],
      means: "a file of the credentials is missing, may not be read, or is no YAML",
    },
    {
      says: 'Cannot use kubeconfig "…": …',
      code: [
        "Cannot use …: …",
        "Cannot use …: it has no current-context: set one of … by kubectl config use-context",
        'Cannot use …: its current-context "…" is not one of its contexts …',
        'Cannot use …: cluster "…" of context "…" is not one of its clusters …',
        'Cannot use …: user "…" of context "…" is not one of its users …',
        "Cannot use …: it holds no object of kind Config: …",
        'Cannot use cluster "…" of …: proxy-url "…" must begin with http:// or https://',
        "Cannot use …: its data is not base64: copy it again, whole, in one line",
        "Cannot use …: it is not PEM, which begins with -----BEGIN",
        "Cannot use …: its user has a client … but no client …: add client-…-data",
        'Cannot use user "…" of …: its auth-provider was removed from Kubernetes 1.26: use its exec plugin instead',
        'Cannot use the API server\'s address "…" of …: it must be a URL such as https://10.0.0.1:6443',
      ],
      means: "the part of it that is named cannot be right",
    },
    {
      says: "Cannot get credentials from the exec plugin …: …",
      code: [
        "Cannot get credentials from the …: …",
        'Cannot use the exec plugin of …: "…" …',
        'Cannot use the exec plugin of …: "command" is missing',
        'Cannot use the exec plugin "…" of …: apiVersion "…" must be …',
      ],
      means: "the program that the kubeconfig names failed, or is described wrongly",
      remedy: "run it by hand, as root and in the agent's environment",
    },
    {
      says: "Cannot VERB KIND at SERVER: …",
      code: [
        "Cannot … … at …: ",
        "Cannot … … at …: … (…)",
        "Cannot … … at …: not a byte for … s: the connection is taken for dead",
        "Cannot … … at …: its answer is not JSON",
        "Cannot list … at …: its answer is no list: is it an API server?",
        "Cannot watch … at …",
      ],
      means:
        "a request failed. 401: the credentials are refused; 403: RBAC, and which rule is missing; 404: no such kind, or no API server; 410: read anew at once; 429 and 5xx: it is overloaded or ill; certificate: the CA, the clock or the name; connection refused, no route, silence: the address, the network, a dead server",
      remedy: "`routelet doctor` asks for all of it and says what to do",
    },
    {
      says: 'Cannot read manifests from "…": …',
      code: [
        'Cannot read manifests from "…": …: correct --manifests, or make the folder',
        'Cannot read the manifests in "…": …',
      ],
      means: "the folder of `--manifests` is not there, or may not be read",
    },
  ],
};

/** The page's sections, in order. */
export const MESSAGES: readonly MessageSection[] = [
  COMMAND_LINE,
  START,
  API,
  LINUX,
  LOG,
  OBJECTS,
];
