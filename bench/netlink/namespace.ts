/** Network namespaces for single runs. */

async function run(...command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], { stdout: "ignore", stderr: "inherit" });
  if (await child.exited !== 0) throw new Error(`Cannot run "${command.join(" ")}"`);
}

/** With lo up: without a local routing table Linux refuses destinations. */
export async function makeNamespace(name: string): Promise<void> {
  await run("ip", "netns", "add", name);
  await run("ip", "-n", name, "link", "set", "lo", "up");
}

export async function removeNamespace(name: string): Promise<void> {
  await run("ip", "netns", "del", name);
  // Linux tears a namespace down in the background, in user-mode Linux on the same core.
  await Bun.sleep(1000);
}
