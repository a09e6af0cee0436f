/** The commands by name. Each is loaded when it runs, so that `version` and `help` start at once. */
import { restartTuned } from "./engine-settings.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { nearest } from "./suggest.ts";

/** Exit codes. 0 is success; `plan` answers 2 when there is something to change. */
export const EXIT = { failed: 1, usage: 2 } as const;

export interface Command {
  readonly summary: string;
  /** The page of `routelet help COMMAND`, below its summary. */
  readonly details: string;
  /** Programs or reads Linux, which takes root. */
  readonly needsRoot: boolean;
  /** It changes something: it goes on to its end although nobody reads what it prints. Others end with their reader. */
  readonly changes?: true;
  /** No command for people: help does not list it. */
  readonly hidden?: true;
  /** Other words that it takes; absent for none. */
  readonly words?: string;
  /** Exit code of a wrong command line; 2 if absent. */
  readonly usageExit?: number;
  run(flags: Flags, io: Io, words: readonly string[]): Promise<number>;
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    summary: "Run the agent until SIGTERM; the default when no command is given",
    details:
      "The agent keeps Linux as the cluster's objects want it. On SIGTERM or SIGINT it stops and leaves everything\nin place, so that traffic goes on while it is restarted or replaced.",
    changes: true,
    needsRoot: true,
    async run(flags, io) {
      // Before all that would have to be loaded twice.
      restartTuned(io);
      return (await import("./run.ts")).run(flags, io);
    },
  },
  plan: {
    summary: "Print the exact change that the agent would make to Linux now, and make none",
    details:
      "routelet plan [FLAGS]                 with the running agent's flags, but for those that are given here\n" +
      "routelet plan [FLAGS] FILE|FOLDER…    as if these manifests were applied to the cluster\n\n" +
      "Changes are grouped by the object that asks for them. Run by another version's executable, it says what that\n" +
      "version would change. Exit code: 0 nothing to change, 2 something to change, 1 it could not be found out (and\n" +
      "for a wrong command line, which exits with 2 everywhere else).",
    needsRoot: true,
    usageExit: EXIT.failed,
    words: "[FILE|FOLDER]…",
    run: async (flags, io, words) => (await import("./plan.ts")).plan(flags, io, words),
  },
  status: {
    summary: "Print what the agent on this node is doing",
    details:
      "Asks the running agent over the socket in --runtime-dir. Exit code: 0 ready, 1 not ready or no agent runs.",
    needsRoot: false,
    run: async (flags, io) => (await import("./status.ts")).status(flags, io),
  },
  ipvs: {
    summary: "Print the IPVS table with the names of Kubernetes' objects, connections and rates",
    details: "routelet ipvs [SERVICE|NAMESPACE|ADDRESS|:PORT]…\n\n" +
      "Without words all of it, others' services too. --watch prints it every two seconds, --output json all fields.\n" +
      "Asks the running agent over the socket in --runtime-dir, which only root may open.",
    needsRoot: false,
    words: "[SERVICE|NAMESPACE|ADDRESS|:PORT]…",
    run: async (flags, io, words) => (await import("./ipvs.ts")).ipvs(flags, io, words),
  },
  why: {
    summary: "Say what becomes of a connection on this node: Service, policy, NAT and route",
    details: "routelet why SOURCE DESTINATION[:PORT[/PROTOCOL]]\n\n" +
      'SOURCE is a pod ("namespace/name"), an address, a node, or "host" for this node. DESTINATION is a Service\n' +
      '("namespace/name" or "name.namespace"), a pod, an address or a node; "service/…", "pod/…" and "node/…" say which.\n' +
      "PORT is a number or the name of one; without it the Service's or pod's own are taken. PROTOCOL is tcp, udp or\n" +
      "sctp. Examples: why default/shell default/web:http, why 192.0.2.7 198.51.100.1:53/udp, why host node2:22\n\n" +
      "It says what this node does, with the rules, objects and counters that decide; other nodes judge their own pods.\n" +
      "Exit code: 0 it reaches the destination, 3 it does not, or only sometimes, 1 it could not be found out.",
    needsRoot: false,
    words: "SOURCE DESTINATION[:PORT[/PROTOCOL]]",
    run: async (flags, io, words) => (await import("./why.ts")).why(flags, io, words),
  },
  bgp: {
    summary: "Print BGP's neighbours and routes, and why a route is used and announced or not",
    details: "routelet bgp global              AS number, router id, where it listens\n" +
      "routelet bgp neighbors [PEER]    all neighbours, or one in full\n" +
      "routelet bgp rib [in|out|local] [PEER]\n" +
      "                                 what peers sent, what they were sent, what was chosen (default)\n" +
      "routelet bgp why PREFIX          why it is, or is not, used, announced and in Linux\n\n" +
      "Asks the running agent over the socket in --runtime-dir, which only root may open.",
    needsRoot: false,
    words: "[global|neighbors|rib|why] …",
    run: async (flags, io, words) => (await import("./bgp.ts")).bgp(flags, io, words),
  },
  policy: {
    summary: "Print this node's network policies, and why a connection is allowed or denied",
    details: "routelet policy list             policies that concern pods of this node\n" +
      "routelet policy why SOURCE DESTINATION [PROTOCOL/PORT]\n" +
      "                                 allowed or denied, by which policy, rule and chain, and its counter\n\n" +
      'SOURCE and DESTINATION are pods ("namespace/name") or addresses. Each node judges its own pods.\n' +
      "Asks the running agent over the socket in --runtime-dir, which only root may open.",
    needsRoot: false,
    words: "[list|why] …",
    run: async (flags, io, words) => (await import("./policy.ts")).policy(flags, io, words),
  },
  doctor: {
    summary: "Check whether this host is fit for the agent, and say what to do where it is not",
    details:
      "Looks at Linux's modules and sysctls, other agents and what they left, MTU, clock, the API server, its access\nrules, the Node and CNI, by the flags of the running agent and those that are given. Changes nothing.\nExit code: 0 nothing fails, 1 something does.",
    needsRoot: false,
    run: async (flags, io) => (await import("./doctor/mod.ts")).doctor(flags, io),
  },
  migrate: {
    summary: "Take over from kube-proxy or kube-router: show what they left, adopt it or remove it",
    details:
      "routelet migrate --from=kube-proxy|kube-router          shows what is left, and changes nothing\n" +
      "routelet migrate --from=kube-proxy|kube-router --yes    does it\n\n" +
      "1. Stop the other program; what it made goes on serving. 2. Run migrate: what carries Services in IPVS is marked as\n" +
      "ours, in place (= lines). 3. Start the agent. 4. Run migrate again: what is left goes (- lines).\n" +
      "Exit code: 0 nothing is left, 2 something is, 1 it failed.",
    changes: true,
    needsRoot: true,
    run: async (flags, io) => (await import("./migrate/mod.ts")).migrate(flags, io),
  },
  plugin: {
    summary: "List third parties' plugins, and help to write one",
    details: "routelet plugin list        plugins of the running agent, or of the folders\n" +
      "routelet plugin new NAME    writes NAME.ts, its types and a test of it into this folder\n" +
      "routelet plugin test FILE   its plan on a Linux in memory, for the manifests in NAME.test or --manifests\n" +
      "routelet plugin types       the contract as one .d.ts file\n\n" +
      "With a file plan.txt in NAME.test, test exits with 1 unless just that comes of it.",
    changes: true,
    needsRoot: false,
    words: "[list|new|test|types] …",
    run: async (flags, io, words) => (await import("./plugin.ts")).plugin(flags, io, words),
  },
  cleanup: {
    summary: "Remove everything of ours from this node's Linux; the same as --cleanup-config",
    details:
      "Needs no API server. What others put into Linux stays. With --verify it looks at everything again and prints\nwhat it saw. Exit code: 0 nothing of ours is left, 1 something is.",
    changes: true,
    needsRoot: true,
    run: async (flags, io) => (await import("./cleanup.ts")).cleanup(flags, io),
  },
  install: {
    summary: "Install this executable on a host: unit, flags, plugin folder, CNI configuration",
    details: "routelet install [FLAGS]    the flags given are those of the agent from then on\n" +
      "routelet install cni        the CNI configuration alone, as the DaemonSet does\n\n" +
      "Prints every file that it writes, and overwrites none of others: then it writes nothing and says why.\n" +
      "Again, it writes what is missing or of an earlier version. --dry-run only prints.",
    changes: true,
    needsRoot: true,
    words: "[cni]",
    run: async (flags, io, words) => (await import("./install.ts")).install(flags, io, words),
  },
  uninstall: {
    summary:
      "Stop the agent, remove everything of ours from Linux, and the files of the installation",
    details:
      "As cleanup, then the files. With --verify it looks at all of Linux again and prints what it saw;\n" +
      "--dry-run only prints what would go. Exit code: 0 nothing of ours is left, 1 something is.",
    changes: true,
    needsRoot: true,
    run: async (flags, io) => (await import("./install.ts")).uninstall(flags, io),
  },
  "plugin-process": {
    summary: "Run one third party's plugin; started by the agent alone",
    details: "",
    changes: true,
    needsRoot: false,
    hidden: true,
    run: async (_flags, io) => await (await import("./plugin-process.ts")).pluginProcess(io),
  },
  version: {
    summary: "Print the version",
    details: "",
    needsRoot: false,
    run: async (_flags, io) => {
      io.stdout(`${(await import("./version.ts")).versionLine()}\n`);
      return 0;
    },
  },
  help: {
    summary: "Print the help text, or that of one command",
    details: "",
    needsRoot: false,
    words: "[COMMAND]",
    run: async (_flags, io, [name]) => {
      const { commandHelp, generalHelp } = await import("./help.ts");
      const command = name === undefined ? undefined : COMMANDS[name];
      if (name !== undefined && command === undefined) {
        io.stderr(`routelet: ${unknownCommand(name)}\n`);
        return EXIT.usage;
      }
      io.stdout(
        name === undefined || command === undefined
          ? generalHelp(COMMANDS)
          : commandHelp(name, command),
      );
      return 0;
    },
  },
};

/** The complaint about a word that is no command. */
export function unknownCommand(word: string): string {
  const names = Object.keys(COMMANDS).filter((each) => COMMANDS[each]?.hidden !== true);
  const near = nearest(word, names);
  return near === undefined
    ? `Unknown command "${word}"; commands are ${names.join(", ")}`
    : `Unknown command "${word}"; did you mean "${near}"`;
}
