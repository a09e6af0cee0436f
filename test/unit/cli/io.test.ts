import { describe, expect, test } from "bun:test";
import { resolve } from "node:path";
import { HOME, printable } from "../../../src/cli/io.ts";
import { main } from "../../../src/main.ts";

const MAIN = resolve(import.meta.dir, "../../../src/main.ts");

/** Runs a command into a pipe whose reader has gone. */
async function unread(...words: readonly string[]) {
  const script = 'exec 3> >(:); wait $!; "$@" >&3; echo $?';
  const child = Bun.spawn(["bash", "-c", script, "bash", process.execPath, MAIN, ...words], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: Number(out), err };
}

describe("a command whose output nobody reads", () => {
  test.each([[["help"]], [["version"]], [["help", "why"]]])(
    "%p ends as one that SIGPIPE has ended, without a word",
    async (words) => {
      expect(await unread(...words)).toEqual({ code: 141, err: "" });
    },
  );

  test("goes on to its end where it changes something", async () => {
    const ending: string[] = [];
    for (const word of ["help", "install"]) {
      await main([word, "nonsense"], {
        stdout: () => {},
        stderr: () => {},
        env: {},
        isRoot: true,
        endWithReader: () => void ending.push(word),
      });
    }
    expect(ending).toEqual(["help"]);
  });
});

test("what is printed shows control characters and obeys none", () => {
  const hostile = "\u001b]52;c;ZXZpbA==\u0007 \u001b[2K\rready \u009b31m\u007f";
  expect(printable(`audit: "${hostile}"\n\tnext — ok\n`)).toBe(
    'audit: "\\u001b]52;c;ZXZpbA==\\u0007 \\u001b[2K\\u000dready \\u009b31m\\u007f"\n\tnext — ok\n',
  );
});

test("a picture that is drawn again begins at the top of the screen, and nothing in it does", () => {
  expect(printable(`${HOME}one ${HOME}two\n`)).toBe(`${HOME}one \\u001b[H\\u001b[Jtwo\n`);
});

test("JSON that is printed says the same", () => {
  const object = { reason: "\u001b[2K\u009b31m\u007f" };
  expect(JSON.parse(printable(JSON.stringify(object, null, 2)))).toEqual(object);
});
