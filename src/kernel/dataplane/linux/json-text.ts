/** JSON with the place of each value in the text, so that one value can be changed and all else stays byte for byte. */

interface Place {
  /** First character, and the one behind the last. */
  readonly start: number;
  readonly end: number;
}

export interface JsonObject extends Place {
  readonly kind: "object";
  readonly members: readonly { readonly key: string; readonly at: number; readonly value: Json }[];
}

export interface JsonArray extends Place {
  readonly kind: "array";
  readonly items: readonly Json[];
}

export interface JsonScalar extends Place {
  readonly kind: "scalar";
  readonly value: string | number | boolean | null;
}

export type Json = JsonObject | JsonArray | JsonScalar;

/** A change of a text: what stands from `start` to `end` becomes `text`. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Reads a text. @throws {SyntaxError} where it is no JSON */
export function parseJson(text: string): Json {
  // The engine's own parser says what is wrong, and everything below may trust the text.
  JSON.parse(text);
  const reader = new Reader(text);
  return reader.value();
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): Json {
    this.#blanks();
    const start = this.#at;
    const first = this.#text[start];
    if (first === "{") return this.#object(start);
    if (first === "[") return this.#array(start);
    const found = /^(?:"(?:[^"\\]|\\.)*"|[^\s,\]}]+)/s.exec(this.#text.slice(start))?.[0] ?? "";
    this.#at = start + found.length;
    const value = JSON.parse(found) as JsonScalar["value"];
    return { kind: "scalar", start, end: this.#at, value };
  }

  #object(start: number): JsonObject {
    const members: { key: string; at: number; value: Json }[] = [];
    this.#at++;
    while (!this.#closes("}")) {
      const at = this.#at;
      const key = this.value();
      this.#blanks();
      this.#at++; // the colon
      members.push({
        key: key.kind === "scalar" ? String(key.value) : "",
        at,
        value: this.value(),
      });
    }
    return { kind: "object", start, end: this.#at, members };
  }

  #array(start: number): JsonArray {
    const items: Json[] = [];
    this.#at++;
    while (!this.#closes("]")) items.push(this.value());
    return { kind: "array", start, end: this.#at, items };
  }

  /** Passes blanks and a comma; true, and behind it, at the closing character. */
  #closes(character: string): boolean {
    this.#blanks();
    if (this.#text[this.#at] === ",") {
      this.#at++;
      this.#blanks();
    }
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #blanks(): void {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at++;
  }
}

/** The value of a member; the last one of a key counts, as in every JSON parser. */
export function member(object: Json | undefined, key: string): Json | undefined {
  return object?.kind === "object"
    ? object.members.findLast((each) => each.key === key)?.value
    : undefined;
}

export function itemsOf(value: Json | undefined): readonly Json[] {
  return value?.kind === "array" ? value.items : [];
}

export function scalarOf(value: Json | undefined): JsonScalar["value"] | undefined {
  return value?.kind === "scalar" ? value.value : undefined;
}

/** Adds a member at the end of an object, on a line of its own where the others have one. */
export function addMember(text: string, object: JsonObject, key: string, value: string): Edit {
  return addAt(text, object, object.members, `${JSON.stringify(key)}: ${value}`);
}

/** Adds items at the end of an array, each on a line of its own where the others have one. */
export function addItem(text: string, array: JsonArray, value: string): Edit {
  return addAt(
    text,
    array,
    array.items.map((item) => ({ at: item.start, value: item })),
    value,
  );
}

function addAt(
  text: string,
  parent: Place,
  children: readonly { readonly at: number; readonly value: Json }[],
  added: string,
): Edit {
  const last = children.at(-1);
  if (last === undefined) return { start: parent.start + 1, end: parent.start + 1, text: added };
  // What stands before the last child, blanks and line end, stands before the new one as well.
  const before = /(?:\r?\n)?[ \t]*$/.exec(text.slice(0, last.at))?.[0] ?? "";
  const separator = before === "" && children.length === 1 ? "" : before;
  return { start: last.value.end, end: last.value.end, text: `,${separator}${added}` };
}

/** Takes an item out of an array, with the comma that goes with it. */
export function removeItem(array: JsonArray, index: number): Edit {
  const item = array.items[index];
  const next = array.items[index + 1];
  const before = array.items[index - 1];
  if (item === undefined) return { start: array.start, end: array.start, text: "" };
  if (next !== undefined) return { start: item.start, end: next.start, text: "" };
  if (before !== undefined) return { start: before.end, end: item.end, text: "" };
  return { start: item.start, end: item.end, text: "" };
}

/** Makes one change. */
export function edited(text: string, { start, end, text: replacement }: Edit): string {
  return text.slice(0, start) + replacement + text.slice(end);
}
