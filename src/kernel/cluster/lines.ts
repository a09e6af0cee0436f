/** Cuts a stream of bytes into lines, as they come, in time linear in the bytes. */

const LINE_FEED = 10;
/** A watch event is one object, which etcd limits to 1.5 MB: a longer line is not one. */
const LONGEST_LINE = 32 * 1024 * 1024;

export interface LineSplitter {
  /** The lines that this chunk completes, without their ends and without empty ones. */
  readonly push: (chunk: Uint8Array) => readonly string[];
  /** Bytes of the line that is not complete. */
  readonly pending: number;
}

/** `push` throws a RangeError for a line that never ends. */
export function createLineSplitter(longest = LONGEST_LINE): LineSplitter {
  // Parts of the line that is not complete: joined once, when its end comes.
  let parts: Uint8Array[] = [];
  let pending = 0;
  return {
    get pending() {
      return pending;
    },
    push: (chunk) => {
      const last = chunk.lastIndexOf(LINE_FEED);
      if (last < 0) {
        pending += chunk.length;
        if (pending > longest) throw new RangeError(`Line is longer than ${longest} bytes`);
        parts.push(chunk);
        return [];
      }
      const complete = chunk.subarray(0, last);
      const text = Buffer.concat([...parts, complete]).toString();
      const rest = chunk.subarray(last + 1);
      parts = rest.length === 0 ? [] : [rest];
      pending = rest.length;
      return text.split("\n").filter((line) => line !== "" && line !== "\r");
    },
  };
}
