/** The reference page of the flags, from the table; `make docs` writes it, a test holds the file equal. */
import { FLAGS, SECTIONS } from "./flags.ts";
import { defaultText, inSection } from "./help.ts";

const HEAD = ["flag", "type", "default", "served", "meaning"];

const INTRODUCTION = `<!-- Made by \`make docs\` from src/cli/flags.ts; a test holds both equal. -->

# Flags

routelet takes every flag of kube-router 2.11 with its type and default, those of older documents,
and its own. Flags that this version does not serve are parsed and checked all the same; those that
were given are named in one warning at start.

- \`--x\`, \`--x=true\` and \`--x=false\` for switches; \`--x=v\` or \`--x v\` for the others. \`--\` ends the
  flags.
- Lists take commas, repeated flags or both. The first one given replaces the default.
- Durations are Go's: \`300ms\`, \`30s\`, \`5m0s\`, \`1h30m\`.
- A wrong command line is refused with exit code 2 (1 for \`plan\`), and one line for each problem.
`;

/** The page as deno fmt leaves it. */
export function flagsPage(): string {
  const sections = SECTIONS.map((section) => {
    const rows = inSection(section).map((name) => {
      const { kind, short, usage, served, replacement } = FLAGS[name];
      const letter = short === undefined ? "" : `\`-${short}\`, `;
      const shown = defaultText(name);
      const state = replacement !== undefined ? "ignored" : served ? "yes" : "not yet";
      return [
        `${letter}\`--${name}\``,
        cell(kind.word || "bool"),
        shown === "" ? "" : `\`${shown}\``,
        state,
        cell(replacement === undefined ? usage : `${usage}: ${replacement}`),
      ];
    });
    return `## ${section}\n\n${table([HEAD, ...rows])}\n`;
  });
  return `${INTRODUCTION}\n${sections.join("\n")}`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, column) => text.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
