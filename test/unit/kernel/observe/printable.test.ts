import { expect, test } from "bun:test";
import { printable } from "../../../../src/kernel/observe/printable.ts";

test.each([
  ["plain, wörds …", "plain, wörds …"],
  ["two\nlines\r\n", "two\\nlines\\u000d\\n"],
  ["\u001b[2J\u009b2J\u0007", "\\u001b[2J\\u009b2J\\u0007"],
  ["\u202eback\u2066\u2028", "\\u202eback\\u2066\\u2028"],
])("printable(%j) is one line that shows what is in it", (text, shown) => {
  expect(printable(text)).toBe(shown);
});
