/** The page of terminal captures, from what commands print in the lab; `make captures` writes it. */

const PARTS: readonly (readonly [title: string, ...files: string[]])[] = [
  ["Status", "status"],
  ["IPVS", "ipvs"],
  ["Why", "why", "why-service"],
  ["Plan", "plan"],
  ["Policies", "policy-list", "policy-why"],
  ["BGP", "bgp-neighbors"],
  ["Doctor", "doctor"],
];

const INTRODUCTION =
  `<!-- Made by \`make captures\` in the lab; \`test/e2e/see.test.ts\` holds all but numbers equal. -->

# Captures

What the commands of [operate.md](operate.md) print, on a node of the lab: topology and objects are
in \`test/e2e/see\`. \`make captures\` makes this page anew.
`;

/** @param read the text of a capture, with the command line first */
export function capturesPage(read: (name: string) => string): string {
  const parts = PARTS.map(([title, ...files]) => {
    const blocks = files.map((name) => `\`\`\`\n${trimmed(read(name))}\n\`\`\`\n`);
    return `## ${title}\n\n${blocks.join("\n")}`;
  });
  return [INTRODUCTION, ...parts].join("\n");
}

function trimmed(text: string): string {
  return text.trimEnd().split("\n").map((line) => line.trimEnd()).join("\n");
}

/** The text without what differs from run to run: numbers, their units, the blanks that align them, and the order of lines. */
export function shapeOf(text: string): string {
  return text
    .replace(/\b(tun-|KUBE-[A-Z]+-)[A-Za-z0-9]+/g, "$1#")
    .replace(/; most: .*/g, "")
    .replace(/\d[\d.]*/g, "#")
    .replace(/# ?(?:ms|s|min|h|k?B|MB)\b/g, "#")
    .replace(/[ \t]+/g, " ")
    .split("\n").toSorted().join("\n");
}
