/** The reference page of errors, from the table of messages; `make docs` writes it, a test holds file, table and code equal. */

import { MESSAGES, type MessageSection } from "./messages.ts";

const INTRODUCTION =
  `<!-- Made by \`make docs\` from src/cli/messages.ts; a test holds page and code equal. -->

# Errors

Errors name the object, the operation, the reason and the remedy; \`…\` stands for what varies. The page
has every message that begins with \`Cannot\`, every refusal of the command line, and every warning and
error of the log. [Troubleshoot](../troubleshoot.md) starts from symptoms,
[\`doctor\`](../operate.md#doctor) lists its own checks.
`;

/** The page, before deno fmt. */
export function errorsPage(): string {
  return [INTRODUCTION, ...MESSAGES.map(section)].join("\n");
}

function section({ title, introduction, messages }: MessageSection): string {
  const rows = messages.map(({ says, means, remedy = "" }) =>
    `| \`${cell(says)}\` | ${cell(means)} | ${cell(remedy)} |`
  );
  return `## ${title}\n\n${introduction}\n\n| message | means | helps |\n| --- | --- | --- |\n${
    rows.join("\n")
  }\n`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
