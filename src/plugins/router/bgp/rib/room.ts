/**
 * Room of tables by number. Linux gives a page of a large array only when it is first touched, so room that is not used costs
 * nothing, while each step on the way copies what is there and leaves the old array behind: few large steps.
 */

/** The room of a full table of the internet is reached in four steps; from here on an array is megabytes. */
const LARGE = 262_144;

/** Room for at least `least` in place of `room`. */
export function moreRoom(room: number, least: number): number {
  let more = room;
  while (more < least) more *= more < LARGE ? 16 : 4;
  return more;
}

/** What is in `old`, in a larger array. */
export function grown<T extends Int32Array | Uint32Array | Uint16Array | Uint8Array>(
  old: T,
  larger: T,
): T {
  larger.set(old);
  return larger;
}
