/** Generic netlink (linux/genetlink.h): families have names, and ids that Linux gives out at run time. */

import { KernelError } from "../errors.ts";
import type { MessageWriter } from "./message.ts";
import type { NetlinkSocket } from "./socket.ts";

/** Bytes of `struct genlmsghdr`. */
export const GENL_HEADER = 4;

const GENL_ID_CTRL = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

/** Writes `struct genlmsghdr` after `begin`. */
export function genlHeader(writer: MessageWriter, command: number, version: number): void {
  writer.rawU8(command);
  writer.rawU8(version);
  writer.rawU16(0);
}

/**
 * The id of a family ("IPVS"). Linux itself tries to load the module of a missing one.
 *
 * @param module what to load for it, as the error's remedy names it
 * @throws {KernelError} ENOSUPPORT when Linux has no such family
 */
export function resolveFamily(socket: NetlinkSocket, name: string, module: string): number {
  let id = 0;
  try {
    socket.request("resolve generic netlink family", (w) => {
      w.begin(GENL_ID_CTRL);
      genlHeader(w, CTRL_CMD_GETFAMILY, 1);
      w.string(CTRL_ATTR_FAMILY_NAME, name);
      w.end();
    }, (message) => {
      const a = message.attributes(GENL_HEADER);
      while (a.next()) if (a.type === CTRL_ATTR_FAMILY_ID) id = a.u16();
    });
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== "ENOENT") throw error;
  }
  if (id !== 0) return id;
  throw new KernelError("use generic netlink family", "ENOSUPPORT", {
    object: name,
    detail: "this Linux does not have it",
    remedy: `load it on the host with "modprobe ${module}" or use a kernel that has it`,
  });
}

/** Like {@linkcode resolveFamily}, after one try to load the module where the family is missing. */
export async function resolveOrLoadFamily(
  socket: NetlinkSocket,
  name: string,
  module: string,
): Promise<number> {
  try {
    return resolveFamily(socket, name, module);
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== "ENOSUPPORT") throw error;
    if (!await loadModule(module)) throw error;
    return resolveFamily(socket, name, module);
  }
}

/** Runs `modprobe`; false where there is none (a container without it) or it fails. */
export async function loadModule(module: string): Promise<boolean> {
  try {
    const child = Bun.spawn(["modprobe", "--", module], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      timeout: 10_000,
    });
    return await child.exited === 0;
  } catch {
    return false;
  }
}
