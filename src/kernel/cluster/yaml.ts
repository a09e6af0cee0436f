/**
 * YAML with line numbers in its errors, which Bun's own parser lacks. The one place that knows the
 * library; imported late, for it is not needed where credentials are in the pod.
 */

/** Where and why a text is not YAML. Lines count from 1. */
export class YamlError extends Error {
  override readonly name = "YamlError";
  readonly line: number;
  readonly reason: string;

  constructor(line: number, reason: string) {
    super(`Line ${line}: ${reason}`);
    this.line = line;
    this.reason = reason;
  }
}

export interface YamlDocument {
  /** Where its first line of content is, from 1. */
  readonly line: number;
  readonly value: unknown;
}

/**
 * The documents of a text, without those that hold nothing but comments. JSON is YAML.
 *
 * @throws {YamlError}
 */
export async function parseYaml(text: string): Promise<readonly YamlDocument[]> {
  const { CORE_SCHEMA, loadAll, mergeTag, YAMLException } = await import("js-yaml");
  // Without timestamps, which Kubernetes has as texts; with `<<`, which kubectl knows.
  const schema = CORE_SCHEMA.withTags(mergeTag);
  const load = (text: string): readonly unknown[] => {
    try {
      return loadAll(text, { schema });
    } catch (error) {
      const isIndent = error instanceof YAMLException && error.reason === "deficient indentation";
      if (!isIndent) throw error;
      return loadAll(indentEnds(text), { schema });
    }
  };
  return split(text).flatMap(({ line, content, text }) => {
    try {
      return load(text)
        .filter((value) => value !== null && value !== undefined)
        .map((value) => ({ line: content, value }));
    } catch (error) {
      if (!(error instanceof YAMLException)) throw new YamlError(content, messageOf(error));
      // What is missing at the end of a document is told of its last line, not of one beyond it.
      const last = line + text.trimEnd().split("\n").length - 1;
      throw new YamlError(Math.min(line + (error.mark?.line ?? 0), last), error.reason);
    }
  });
}

/**
 * Ends of braces and brackets that stand alone on their line, one blank further in. YAML wants them further in than the
 * key that they belong to; kubectl takes them below it, and formatters write them there.
 */
function indentEnds(text: string): string {
  return text.replace(/^(?=[ \t]*[}\]][}\], \t\r]*$)/gm, " ");
}

interface Piece {
  /** Line of the piece's first character. */
  readonly line: number;
  /** Line of its first content. */
  readonly content: number;
  readonly text: string;
}

/**
 * One piece a document, so that each knows its line. YAML forbids `---` at the start of a line inside
 * any scalar, so that splitting there is exact.
 */
function split(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  const lines = text.split("\n");
  let start = 0;
  let content = -1;
  const finish = (end: number) => {
    if (content < 0) return;
    pieces.push({
      line: start + 1,
      content: content + 1,
      text: `${lines.slice(start, end).join("\n")}\n`,
    });
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const marker = /^---(\s|$)/.test(line);
    if (marker && content >= 0) {
      finish(at);
      start = at;
      content = -1;
    }
    // Directives and comments before the marker belong to the document that it begins.
    if (content < 0 && /^[^#%\s]|^\s+[^#\s]/.test(marker ? line.slice(3) : line)) content = at;
  }
  finish(lines.length);
  return pieces;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
