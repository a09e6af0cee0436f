/** Runs a command. */

export interface RunOptions {
  /** Default: this process's. */
  readonly cwd?: string;
}

/** Standard output, trimmed. @throws {Error} with its standard error when it fails */
export async function run(command: readonly string[], { cwd }: RunOptions = {}): Promise<string> {
  const child = Bun.spawn([...command], {
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`"${command.slice(0, 3).join(" ")}" failed:\n${err}${out}`);
  return out.trim();
}
