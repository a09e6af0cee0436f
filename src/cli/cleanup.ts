/** PLACEHOLDER: the command `cleanup`; the body that opens Linux and the runtime replaces this one. */
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";

export function cleanup(_flags: Flags, io: Io): Promise<number> {
  io.stderr('routelet: The command "cleanup" is not built yet\n');
  return Promise.resolve(70);
}
