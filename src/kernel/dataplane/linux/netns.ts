/**
 * Work in another network namespace.
 *
 * setns acts on the calling thread. Threads that are born inside the window stay in that namespace for life, and
 * async file calls run on pool threads in the original one: so the window is synchronous and short.
 */

import { closeFile, lastErrno, libc, openFile, throwErrno } from "./ffi.ts";
import { errnoName } from "./errno.ts";

const CLONE_NEWNET = 0x40000000;

/**
 * Runs `work` with this thread in the namespace of a descriptor or path ("/run/netns/pod1"), then goes back. Sockets
 * that `work` opens stay in that namespace, and so do children that it spawns; sync reads below /proc/sys/net act there.
 *
 * `work` must not await, and should not allocate much or fetch: a thread started inside never comes back.
 *
 * @throws {KernelError} ENOENT for a path that is not there, EPERM without CAP_SYS_ADMIN
 */
export function inNetworkNamespace<T>(namespace: number | string, work: () => T): T {
  const c = libc();
  const own = openFile("/proc/thread-self/ns/net", "open the own network namespace");
  const opened = typeof namespace === "string";
  let target = -1;
  try {
    target = opened ? openFile(namespace, "open network namespace") : namespace;
    if (c.setns(target, CLONE_NEWNET) !== 0) throwErrno("enter network namespace", `${namespace}`);
    try {
      return work();
    } finally {
      if (c.setns(own, CLONE_NEWNET) !== 0) {
        // Going on would program the wrong namespace; nothing can be trusted any more.
        console.error(`Cannot return to the own network namespace: ${errnoName(lastErrno())}`);
        process.abort();
      }
    }
  } finally {
    if (opened && target >= 0) closeFile(target);
    closeFile(own);
  }
}
