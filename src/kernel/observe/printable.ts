/** Texts of others in lines of ours. */

const UNPRINTABLE =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * The text in one line that shows what is in it. An annotation's value, a plugin's words or an answer of a server must not look like
 * another line, nor move a terminal's cursor or turn the text around.
 */
export function printable(text: string): string {
  return text.replace(
    UNPRINTABLE,
    (char) => char === "\n" ? "\\n" : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
