/** The lines of a watch as changes of a store. */

import { type Asked, eventError } from "./api-error.ts";
import { fieldsOf, isRecord, type Raw, show, text } from "./fields.ts";

/** The stream said something from which it cannot be gone on: list anew. */
export class Unresumable extends Error {
  override readonly name = "Unresumable";
}

export interface WatchEvents<T> {
  /** Undefined: the object is gone. */
  readonly events: readonly (readonly [key: string, object: T | undefined])[];
  /** That the last event brings; undefined where there is none. */
  readonly resourceVersion: string | undefined;
  /** What the stream broke off with: an `Unresumable`, or the ApiError of an ERROR event. */
  readonly failure: unknown;
}

/** Reads lines in order until one fails; what came before it counts. */
export function readEvents<T>(
  lines: readonly string[],
  read: (object: unknown) => T | undefined,
  asked: Asked,
): WatchEvents<T> {
  const events: (readonly [string, T | undefined])[] = [];
  let resourceVersion: string | undefined;
  try {
    for (const line of lines) {
      const { type, object, metadata } = parse(line, asked);
      const current = type === "ADDED" || type === "MODIFIED" ? read(object) : undefined;
      if (type === "DELETED" || current !== undefined) events.push([keyOfRaw(metadata), current]);
      resourceVersion = metadata["resourceVersion"] as string;
    }
  } catch (failure) {
    return { events, resourceVersion, failure };
  }
  return { events, resourceVersion, failure: undefined };
}

interface ParsedEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: unknown;
  /** With a resourceVersion that is a text and not empty. */
  readonly metadata: Raw;
}

function parse(line: string, asked: Asked): ParsedEvent {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    throw new Unresumable(`a line is not JSON: ${show(line)}`);
  }
  if (!isRecord(event)) throw new Unresumable(`a line is not an event: ${show(line)}`);
  const { type, object } = event;
  if (type === "ERROR") throw eventError(object, asked);
  if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED" && type !== "BOOKMARK") {
    throw new Unresumable(`an event has the type ${show(type)}`);
  }
  const metadata = fieldsOf(isRecord(object) ? object["metadata"] : undefined, () => {});
  if (!text(metadata, "resourceVersion")) {
    throw new Unresumable("an event has no resourceVersion");
  }
  return { type, object, metadata: metadata.raw };
}

/** Key in the store, from metadata that is not trimmed. */
export function keyOfRaw({ name, namespace }: Raw): string {
  return typeof namespace === "string" && namespace !== "" ? `${namespace}/${name}` : String(name);
}
