/** PLACEHOLDER: the command `plan`; the body that opens Linux and the runtime replaces this one. */
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";

export function plan(_flags: Flags, io: Io): Promise<number> {
  io.stderr('routelet: The command "plan" is not built yet\n');
  return Promise.resolve(70);
}
