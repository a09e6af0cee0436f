/** The help text and the reference page of the flags, both from the table. */
import type { Command } from "./commands.ts";
import { FLAG_NAMES, type FlagName, FLAGS, SECTIONS } from "./flags.ts";

/** What `routelet help` and `--help` print. */
export function generalHelp(commands: Readonly<Record<string, Command>>): string {
  const names = Object.keys(commands);
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

function defaultText(name: FlagName): string {
  const { kind, default: value, replacement } = FLAGS[name];
  return replacement === undefined ? kind.show(value) : "";
}

function inSection(section: string): readonly FlagName[] {
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

/** The page `docs/reference/flags.md`; a test holds the file equal to this. */
export function flagsPage(): string {
  const sections = SECTIONS.map((section) => {
    const rows = inSection(section).map((name) => {
      const { kind, short, usage, served, replacement } = FLAGS[name];
      const letter = short === undefined ? "" : `\`-${short}\`, `;
      const shown = defaultText(name);
      const state = replacement !== undefined ? "ignored" : served ? "yes" : "not yet";
      const text = replacement === undefined ? usage : `${usage}: ${replacement}`;
      return `| ${letter}\`--${name}\` | ${cell(kind.word || "bool")} | ${
        shown === "" ? "" : `\`${shown}\``
      } | ${state} | ${cell(text)} |`;
    });
    return `## ${section}

| flag | type | default | served | meaning |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
  });
  return `<!-- Made by \`make docs\` from src/cli/flags.ts; a test holds both equal. -->

# Flags

routelet takes every flag of kube-router 2.11 with its type and default, those of older documents, and its own. Flags that this
version does not serve are parsed and checked all the same; those that were given are named in one warning at start.

- \`--x\`, \`--x=true\` and \`--x=false\` for switches; \`--x=v\` or \`--x v\` for the others. \`--\` ends the flags.
- Lists take commas, repeated flags or both. The first one given replaces the default.
- Durations are Go's: \`300ms\`, \`30s\`, \`5m0s\`, \`1h30m\`.
- A wrong command line is refused with exit code 2 (1 for \`plan\`), and one line for each problem.

${sections.join("\n")}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
