/** The help text, from the table of flags. */
import type { Command } from "./commands.ts";
import { FLAG_NAMES, type FlagName, FLAGS, SECTIONS } from "./flags.ts";

/** What `routelet help` and `--help` print. */
export function generalHelp(commands: Readonly<Record<string, Command>>): string {
  const names = Object.keys(commands).filter((name) => commands[name]?.hidden !== true);
  const width = Math.max(...names.map((name) => name.length));
  return `routelet: service proxy, router and firewall of a Kubernetes node

Usage:
  routelet [COMMAND] [FLAGS]

Commands:
${names.map((name) => `  ${name.padEnd(width)}  ${commands[name]?.summary}`).join("\n")}

${flagsHelp()}
Lists take commas or repeated flags. Durations are Go's: 300ms, 30s, 5m0s, 1h30m.
Flags marked * are accepted and checked but not served by this version.
`;
}

/** What `routelet help COMMAND` prints. */
export function commandHelp(name: string, command: Command): string {
  const words = command.words === undefined ? "" : ` ${command.words}`;
  const details = command.details === "" ? "" : `\n${command.details}\n`;
  return `${command.summary}

Usage:
  routelet ${name}${words} [FLAGS]
${details}
All flags of "routelet help" are accepted.
`;
}

function flagsHelp(): string {
  return SECTIONS.map((section) => {
    const lines = inSection(section).map((name) => {
      const { usage, served, replacement } = FLAGS[name];
      const mark = served || replacement !== undefined ? " " : "*";
      const shown = defaultText(name);
      const text = replacement === undefined ? usage : `${usage}: ${replacement}`;
      return ` ${mark}${usageName(name)}\n${
        wrap(text + (shown === "" ? "" : ` (default ${shown})`), 8, 100)
      }`;
    });
    return `${section}:\n${lines.join("\n")}\n`;
  }).join("\n");
}

/** `-v, --v int`. */
function usageName(name: FlagName): string {
  const { short, kind } = FLAGS[name];
  const letter = short === undefined ? "    " : `-${short}, `;
  return `${letter}--${name}${kind.word === "" ? "" : ` ${kind.word}`}`;
}

/** A flag's default as it would be typed; empty for none. */
export function defaultText(name: FlagName): string {
  const { kind, default: value, replacement } = FLAGS[name];
  return replacement === undefined ? kind.show(value) : "";
}

/** The flags of a section in the table's order. */
export function inSection(section: string): readonly FlagName[] {
  return FLAG_NAMES.filter((name) => FLAGS[name].section === section);
}

function wrap(text: string, indent: number, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each) => " ".repeat(indent) + each).join("\n");
}
