/** The messages that the sources hold: literals, with "…" for what is put in at run time. */

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const SOURCES = resolve(import.meta.dir, "../../src");

export interface SourceMessage {
  readonly file: string;
  /** The literal, and those that are added to it. */
  readonly text: string;
}

/**
 * Literals that begin where `pattern` ends, in all sources but those of `except`.
 *
 * @param pattern global; what follows a match is the opening quote
 */
export function sourceMessages(
  pattern: RegExp,
  except: (file: string) => boolean = () => false,
): readonly SourceMessage[] {
  const files = [...new Bun.Glob("**/*.ts").scanSync({ cwd: SOURCES })].toSorted();
  return files.filter((file) => !except(file)).flatMap((file) => {
    const source = readFileSync(join(SOURCES, file), "utf8");
    return [...source.matchAll(pattern)].map(({ index, 0: match }) => ({
      file,
      text: literalAt(source, index + match.length).text,
    }));
  });
}

/** A literal in double quotes or backticks, with what `+` adds to it. */
export function literalAt(source: string, start: number): { text: string; end: number } {
  const quote = source[start];
  let text = "";
  let at = start + 1;
  for (; source[at] !== quote; at++) {
    if (at >= source.length) throw new RangeError(`A literal at ${start} does not end`);
    if (source[at] === "\\") text += source[++at] === "n" ? "\n" : source[at];
    else if (quote === "`" && source.startsWith("${", at)) {
      at = endOfExpression(source, at + 2);
      text += "…";
    } else text += source[at];
  }
  const more = /^\s*\+\s*/.exec(source.slice(at + 1, at + 400));
  if (more === null) return { text, end: at + 1 };
  const next = at + 1 + more[0].length;
  if (source[next] !== '"' && source[next] !== "`") return { text: `${text}…`, end: next };
  const rest = literalAt(source, next);
  return { text: text + rest.text, end: rest.end };
}

/** Where the `}` of a `${}` stands. */
function endOfExpression(source: string, start: number): number {
  let depth = 1;
  for (let at = start; at < source.length; at++) {
    const char = source[at];
    if (char === '"' || char === "`") at = literalAt(source, at).end - 1;
    else if (char === "{") depth++;
    else if (char === "}" && --depth === 0) return at;
  }
  throw new RangeError(`An expression at ${start} does not end`);
}
