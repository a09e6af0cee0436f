/** Puts the thread that does the agent's work before those that only help it. */

import { getPriority, setPriority } from "node:os";
import { libc } from "./ffi.ts";

const SCHED_OTHER = 0;
/** Threads and processes that this one starts do not inherit a negative nice value (sched(7)). */
const SCHED_RESET_ON_FORK = 0x40000000;
const NICE = -10;

/**
 * Gives the calling thread a nice value of -10, and no thread or process that it starts later. The compiler and the garbage
 * collector of the JavaScript engine work in threads of their own: on one processor, as much as on a node that is
 * busy, they would take half of the time from what they are meant to speed up. In a container nice values count
 * only within it.
 *
 * @returns whether it is so; without CAP_SYS_NICE all goes on as before
 */
export function preferThisThread(): boolean {
  try {
    // Somebody who started the agent with another priority meant it.
    if (getPriority(0) !== 0) return false;
    const noPriority = new Uint8Array(4);
    if (libc().sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, noPriority) !== 0) {
      return false;
    }
    setPriority(0, NICE);
    return true;
  } catch {
    return false;
  }
}
