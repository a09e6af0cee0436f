import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { errorsPage } from "../../../src/cli/errors-page.ts";
import { MESSAGES } from "../../../src/cli/messages.ts";
import { literalAt, sourceMessages } from "../../support/source-messages.ts";

const ROOT = resolve(import.meta.dir, "../../..");
const listed = MESSAGES.flatMap(({ messages }) =>
  messages.flatMap(({ says, code = [says] }) => code)
);

/** As a command prints it, without its name and the line end. */
const bare = (text: string) => text.replace(/^routelet: /, "").replace(/\n$/, "");

/** What no user of the agent meets: replays of recorded dataplanes are a test's. */
const HIDDEN = (file: string) =>
  file.startsWith("cli/messages") || file === "kernel/dataplane/record.ts";
const DOCTOR = (file: string) => HIDDEN(file) || file.startsWith("cli/doctor/");

const SOURCES = {
  "every message that begins with Cannot": sourceMessages(/(?=["`]Cannot )/g, HIDDEN),
  "every complaint of a command": sourceMessages(/(?=["`]routelet: [^$])/g, HIDDEN).filter((
    { file },
  ) =>
    // Text for those that ask for it, and a word to those that start by hand what the agent starts.
    file !== "cli/help.ts" && file !== "cli/plugin-process.ts"
  ),
  "every refusal of the command line": sourceMessages(
    /(?=["`](?:Flags? |Unknown (?:flag|command) ))/g,
    (file) => !/^cli\/(?:parse-flags|validate-flags|commands)\.ts$/.test(file),
  ),
  "every warning and error of the log": [
    ...sourceMessages(/(?:\bwarn\??\.?|\berror)\(\s*(?=["`])/g, DOCTOR),
    // What BGP and BFD report is a warning.
    ...sourceMessages(/#report\(\s*(?=["`])/g, (file) => !file.startsWith("plugins/router/b")),
  ],
};

describe("the page of errors", () => {
  test("is what the table makes: run make docs", () => {
    const file = readFileSync(join(ROOT, "docs/reference/errors.md"), "utf8");
    // deno fmt breaks lines and pads tables.
    const bare = (text: string) => text.replace(/-{3,}/g, "---").replace(/\s+/g, " ");
    expect(bare(file)).toBe(bare(errorsPage()));
  });

  test.each(Object.entries(SOURCES))("has %s", (_name, messages) => {
    expect(messages.length).toBeGreaterThan(10);
    const missing = messages.filter(({ text }) => !listed.includes(bare(text)));
    expect(missing).toEqual([]);
  });

  test("has no message that is gone", () => {
    const sources = new Set(
      sourceMessages(/(?=["`](?:routelet: )?[A-Z])/g, HIDDEN).map(({ text }) => bare(text)),
    );
    expect(listed.filter((text) => !sources.has(text))).toEqual([]);
  });

  test("says each message once", () => {
    expect(listed).toHaveLength(new Set(listed).size);
  });
});

test("the table of doctor's checks has each of them, and no other", () => {
  const page = readFileSync(join(ROOT, "docs/operate.md"), "utf8");
  const table = /## doctor[\s\S]*?(?=\n## )/.exec(page)?.[0] ?? "";
  const rows = [...table.matchAll(/^\| (`[^|]*)\|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, row = ""]) => row)
  );
  const ids = sourceMessages(
    /(?:\b(?:ok|warn|fail|skip)\(\s*|\bid = )(?=["`][a-z]+(?:\/|"))/g,
    (file) => !file.startsWith("cli/doctor/"),
  ).map(({ text }) => text);
  expect(ids.length).toBeGreaterThan(10);
  // "kernel/…" stands for all of a group, and the name of a group alone for a group of which nothing is to be checked.
  const isOf = (id: string, row: string) =>
    id === row || row.startsWith(`${id}/`) ||
    (row.endsWith("/…") && `${id}/`.startsWith(row.slice(0, -1)));
  expect(ids.filter((id) => !rows.some((row) => isOf(id, row)))).toEqual([]);
  expect(rows.filter((row) => !ids.some((id) => isOf(id, row)))).toEqual([]);
});

test("literalAt() reads what is put together, and leaves a gap for what is put in", () => {
  const source = 'x("one \\"a\\" " +\n  `two ${f({ a: `${1}}` })} three` + rest)';
  expect(literalAt(source, 2).text).toBe('one "a" two … three…');
});
