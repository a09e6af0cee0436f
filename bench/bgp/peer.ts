/** A peer of the benchmark in a process and namespace of its own. */

import { join } from "node:path";
import type { World } from "../../test/e2e/bgp/world.ts";

/** The lines that a process writes, one by one. */
export function lines(stream: ReadableStream<Uint8Array>): () => Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  return async () => {
    for (;;) {
      const end = text.indexOf("\n");
      if (end >= 0) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        return line;
      }
      const { done, value } = await reader.read();
      if (done) throw new Error("a process of the benchmark ended, see above");
      text += decoder.decode(value, { stream: true });
    }
  };
}

export interface BenchPeer {
  readonly line: () => Promise<string>;
  tell(line: string): void;
  end(): Promise<void>;
}

/** @param command a script of this folder and its arguments */
export function peer(world: World, ...command: readonly string[]): BenchPeer {
  const [script = "", ...rest] = command;
  const child = Bun.spawn([
    ...["ip", "netns", "exec", world.us],
    ...[process.execPath, join(import.meta.dir, script), ...rest],
  ], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  return {
    line: lines(child.stdout),
    tell(line) {
      child.stdin.write(`${line}\n`);
      child.stdin.flush();
    },
    async end() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
