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
      "Exit code: 0 nothing to change, 2 something to change, 1 it could not be found out (and for a wrong command\nline, which exits with 2 everywhere else).",
    needsRoot: true,
    usageExit: EXIT.failed,
    run: async (flags, io) => (await import("./plan.ts")).plan(flags, io),
  },
  status: {
    summary: "Print what the agent on this node is doing",
    details:
      "Asks the running agent over the socket in --runtime-dir. Exit code: 0 ready, 1 not ready or no agent runs.",
    needsRoot: false,
    run: async (flags, io) => (await import("./status.ts")).status(flags, io),
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
  plugin: {
    summary: "List third parties' plugins, and help to write one",
    details: "routelet plugin list        plugins of the running agent, or of the folders\n" +
      "routelet plugin new NAME    writes NAME.ts, its types and a test of it into this folder\n" +
      "routelet plugin test FILE   its plan on a Linux in memory, for the manifests in NAME.test or --manifests\n" +
      "routelet plugin types       the contract as one .d.ts file\n\n" +
      "With a file plan.txt in NAME.test, test exits with 1 unless just that comes of it.",
    needsRoot: false,
    words: "[list|new|test|types] …",
    run: async (flags, io, words) => (await import("./plugin.ts")).plugin(flags, io, words),
  },
  cleanup: {
    summary: "Remove everything of ours from this node's Linux; the same as --cleanup-config",
    details:
      "Needs no API server. What others put into Linux stays. Exit code: 0 nothing of ours is left, 1 something is.",
    needsRoot: true,
    run: async (flags, io) => (await import("./cleanup.ts")).cleanup(flags, io),
  },
  "plugin-process": {
    summary: "Run one third party's plugin; started by the agent alone",
    details: "",
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
