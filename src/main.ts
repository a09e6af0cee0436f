/** Arguments in, exit code out. */
import { COMMANDS, EXIT, unknownCommand } from "./cli/commands.ts";
import { type Io, processIo } from "./cli/io.ts";
import { type CommandLine, parseFlags, UsageError } from "./cli/parse-flags.ts";

/** Runs one command line and returns the exit code. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  let line: CommandLine;
  try {
    line = parseFlags(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return complain(io, error.problems, error.positionals[0]);
  }
  const { flags } = line;
  const [word = "run", ...words] = line.positionals;
  const name = flags.help
    ? "help"
    : flags.version
    ? "version"
    : word === "run" && flags.cleanupConfig
    ? "cleanup"
    : word;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return complain(io, [unknownCommand(name)]);
  if (flags.help) return await command.run(flags, io, line.positionals.slice(0, 1));
  if (words.length > 0 && command.words === undefined) {
    const list = words.map((each) => `"${each}"`).join(" ");
    return complain(io, [`Command "${word}" takes no further words: ${list} given`], word);
  }
  if (command.needsRoot && !io.isRoot) {
    io.stderr(
      `routelet: The command "${name}" must run as root: it programs IPVS, addresses, routes and packet rules of Linux; use sudo, or a privileged pod\n`,
    );
    return EXIT.failed;
  }
  if (command.changes !== true) io.endWithReader?.();
  try {
    return await command.run(flags, io, words);
  } catch (error) {
    io.stderr(`routelet: ${error instanceof Error ? error.message : String(error)}\n`);
    if (flags.v >= 1 && error instanceof Error) io.stderr(`${error.stack}\n`);
    return EXIT.failed;
  }
}

function complain(io: Io, problems: readonly string[], word = "run"): number {
  for (const problem of problems) io.stderr(`routelet: ${problem}\n`);
  io.stderr('Try "routelet help"\n');
  return Object.hasOwn(COMMANDS, word) ? COMMANDS[word]?.usageExit ?? EXIT.usage : EXIT.usage;
}

if (import.meta.main) {
  // Io writes are done when they return, so nothing is lost here.
  process.exit(await main(process.argv.slice(2), processIo()));
}
