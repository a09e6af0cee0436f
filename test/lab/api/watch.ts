/** Watches: one stream a client, one JSON text an event for all of them. */

import { apiVersionOf } from "./kinds.ts";
import { chunk, type Connection, type Stream } from "./http.ts";
import { countOf, isSet, resourceVersionOf, selectionOf } from "./query.ts";
import type { Target } from "./route.ts";
import type { Predicate } from "./selectors.ts";
import { badRequest, expired, StatusError } from "./status.ts";
import type { Logged, Shelf, Store } from "./store.ts";
import type { ChangeType } from "./types.ts";

interface Watch {
  readonly shelf: Shelf;
  readonly connection: Connection;
  readonly bookmarks: boolean;
  readonly send: (frame: Uint8Array) => void;
  /** Ends the stream in good order. */
  readonly end: () => void;
}

export interface Watches {
  readonly open: (target: Target, params: URLSearchParams, connection: Connection) => void;
  readonly bookmark: () => void;
  /** Breaks the connections of all watches. */
  readonly drop: () => void;
  /** Ends all watches with an ERROR event that says 410. */
  readonly expire: () => void;
  /** Holds back all events until told otherwise. */
  readonly hold: (held: boolean) => void;
  readonly count: () => number;
}

const HEADERS = { "Content-Type": "application/json", "Cache-Control": "no-cache, private" };

export function createWatches(store: Store): Watches {
  const open = new Set<Watch>();
  const frames = new WeakMap<Logged, Map<ChangeType, Uint8Array>>();
  let held = false;
  const waiting: (() => void)[] = [];

  /** Every watcher of an event that sees it alike gets the same bytes. */
  function frameOf(logged: Logged, type: ChangeType): Uint8Array {
    const made = frames.get(logged) ?? new Map<ChangeType, Uint8Array>();
    frames.set(logged, made);
    const known = made.get(type);
    if (known !== undefined) return known;
    // An object that stops matching is shown as it last matched, at the revision of the change.
    const json = type === "DELETED" && logged.type !== "DELETED" && logged.old !== undefined
      ? JSON.stringify({
        ...logged.old.object,
        metadata: { ...logged.old.object.metadata, resourceVersion: String(logged.revision) },
      })
      : logged.entry.json;
    const frame = eventFrame(type, json);
    made.set(type, frame);
    return frame;
  }

  function start(target: Target, params: URLSearchParams, connection: Connection): void {
    const { shelf } = target;
    const selected = selectionOf(target, params);
    const bookmarks = isSet(params, "allowWatchBookmarks");
    const initial = initialEvents(params);
    const from = resourceVersionOf(params) ?? 0;
    const timeout = countOf(params, "timeoutSeconds");
    const stream = connection.stream(200, HEADERS);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const close = () => {
      if (timer !== undefined) clearTimeout(timer);
      open.delete(watch);
      shelf.watchers.delete(listener);
    };
    const watch: Watch = {
      shelf,
      connection,
      bookmarks,
      send: (frame) => held ? void waiting.push(() => stream.write(frame)) : stream.write(frame),
      end: () => {
        close();
        if (held) waiting.push(stream.end);
        else stream.end();
      },
    };
    const listener = (logged: Logged) => {
      const type = seenAs(logged, selected);
      if (type !== undefined) watch.send(frameOf(logged, type));
    };
    connection.onClose = close;
    open.add(watch);
    shelf.watchers.add(listener);
    try {
      replay(stream, shelf, selected, initial || from === 0 ? undefined : from, frameOf);
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      watch.send(eventFrame("ERROR", JSON.stringify(error.status)));
      watch.end();
      return;
    }
    if (initial && bookmarks) watch.send(bookmarkFrame(shelf, store.revision, true));
    if (timeout > 0) timer = setTimeout(watch.end, timeout * 1000);
  }

  return {
    open: start,
    bookmark: () => {
      const made = new Map<Shelf, Uint8Array>();
      for (const watch of open) {
        if (!watch.bookmarks) continue;
        const frame = made.get(watch.shelf) ?? bookmarkFrame(watch.shelf, store.revision, false);
        made.set(watch.shelf, frame);
        watch.send(frame);
      }
    },
    drop: () => {
      for (const watch of [...open]) watch.connection.abort();
    },
    expire: () => {
      for (const watch of [...open]) {
        watch.send(eventFrame("ERROR", JSON.stringify(expired().status)));
        watch.end();
      }
    },
    hold: (hold) => {
      held = hold;
      if (held) return;
      for (const send of waiting.splice(0)) send();
    },
    count: () => open.size,
  };
}

/** The first events: the present objects, or what changed since a revision. */
function replay(
  stream: Stream,
  shelf: Shelf,
  selected: Predicate | undefined,
  from: number | undefined,
  frameOf: (logged: Logged, type: ChangeType) => Uint8Array,
): void {
  if (from !== undefined) {
    for (const logged of shelf.since(from)) {
      const type = seenAs(logged, selected);
      if (type !== undefined) stream.write(frameOf(logged, type));
    }
    return;
  }
  for (const entry of shelf.sorted()) {
    if (selected === undefined || selected(entry.object)) {
      stream.write(eventFrame("ADDED", entry.json));
    }
  }
}

/** The change as a watch with a selector sees it; undefined where it sees none. */
function seenAs(logged: Logged, selected: Predicate | undefined): ChangeType | undefined {
  if (selected === undefined) return logged.type;
  const before = logged.old !== undefined && selected(logged.old.object);
  if (logged.type === "DELETED") return before ? "DELETED" : undefined;
  const after = selected(logged.entry.object);
  if (before) return after ? "MODIFIED" : "DELETED";
  return after ? "ADDED" : undefined;
}

/** Streaming lists (KEP-3157). */
function initialEvents(params: URLSearchParams): boolean {
  if (!isSet(params, "sendInitialEvents")) return false;
  if (params.get("resourceVersionMatch") !== "NotOlderThan") {
    throw badRequest(
      "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
  }
  return true;
}

function eventFrame(type: string, json: string): Uint8Array {
  return chunk(`{"type":"${type}","object":${json}}\n`);
}

function bookmarkFrame({ kind }: Shelf, revision: number, initialEnd: boolean): Uint8Array {
  const annotations = { "k8s.io/initial-events-end": "true" };
  return eventFrame(
    "BOOKMARK",
    JSON.stringify({
      kind: kind.kind,
      apiVersion: apiVersionOf(kind),
      metadata: {
        resourceVersion: String(revision),
        creationTimestamp: null,
        ...(initialEnd ? { annotations } : {}),
      },
    }),
  );
}
