import { expect, test } from "bun:test";
import { HOME, printable } from "../../../src/cli/io.ts";

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
