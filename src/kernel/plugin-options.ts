/**
 * A built-in plugin's part of the agent's parsed flags, whose values are validated already.
 *
 * @param plugin its name as a message begins with it: "Proxy"
 * @throws {Error} where a field is missing, which is a fault of ours
 */
export function takeOptions<T>(plugin: string, raw: unknown, fields: readonly (keyof T)[]): T {
  const flags = raw as T;
  for (const field of fields) {
    if (flags[field] === undefined) {
      throw new Error(`${plugin} option "${String(field)}" is missing`);
    }
  }
  return flags;
}
