/** Real processes: what becomes of one that takes too much, prints, or ends itself. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  guestEnvironment,
  type GuestProcess,
  spawnGuest,
} from "../../../../src/kernel/guest/process.ts";

let folder = "";
beforeAll(() => folder = mkdtempSync(join(tmpdir(), "routelet-process-")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a script as such a process; what ended it, and what it printed and sent. */
async function ran(
  script: string,
  options: { readonly memoryLimit?: number; readonly then?: (process: GuestProcess) => void } = {},
) {
  const file = join(folder, `${Bun.hash(script)}.ts`);
  writeFileSync(file, script);
  const lines: string[] = [];
  const sent: unknown[] = [];
  const child = spawnGuest({
    command: [process.execPath, file],
    onOutput: (line) => void lines.push(line),
    ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
  });
  const reason = await new Promise<string>((resolve) => {
    child.onclose = resolve;
    child.onmessage = ({ data }) => {
      sent.push(data);
      options.then?.(child);
    };
    // Early: it waits until the process listens.
    child.postMessage({ type: "ping" });
    child.postMessage({ type: "begin" });
  });
  return { reason, lines, sent };
}

const ANSWERING = `
  process.on("message", (message) => process.send({ type: "log", level: "info", message: message.type }));
  process.send({ type: "listening" });
`;

test("a process gets what it was told before it listened, in order, and is ended when it is told", async () => {
  const { reason, sent } = await ran(ANSWERING, {
    then: (child) => {
      if (++heard === 2) child.terminate();
    },
  });
  expect(sent.map((each) => (each as { message: string }).message)).toEqual(["ping", "begin"]);
  expect(reason).toBe("it was ended");
});
let heard = 0;

test("one that takes more memory than it may is ended, and told of with the remedy", async () => {
  const { reason } = await ran(
    `const kept = [];
     const eat = () => { kept.push(new Uint8Array(8 << 20).fill(1)); setTimeout(eat, 1); };
     eat();`,
    { memoryLimit: 128 * 2 ** 20 },
  );
  expect(reason).toBe(
    "it took more than 128 MiB of memory, and its process was ended; look for what it keeps and never lets go",
  );
});

test("one that ends itself is told of, and what it printed is passed on by lines", async () => {
  const { reason, lines } = await ran(
    'console.log("one\\ntwo"); console.error("three"); process.exitCode = 3;',
  );
  expect(reason).toBe("its process ended with exit code 3; remove process.exit");
  for (let i = 0; i < 200 && lines.length < 3; i++) await Bun.sleep(10);
  expect(lines.toSorted()).toEqual(["one", "three", "two"]);
});

test.each([
  ["is ended", "setInterval(() => {}, 1000);"],
  ["ends itself", "setTimeout(() => process.exit(3), 1);"],
])("what it started ends with it when it %s", async (_, then) => {
  const { sent } = await ran(
    `const child = Bun.spawn(["sleep", "1000"]);
     process.send({ type: "log", level: "info", message: String(child.pid) });
     ${then}`,
    { then: (child) => then.includes("setInterval") && child.terminate() },
  );
  const pid = Number((sent[0] as { message: string }).message);
  const runs = () =>
    existsSync(`/proc/${pid}/stat`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  for (let i = 0; i < 400 && runs(); i++) await Bun.sleep(5);
  expect(runs()).toBeFalse();
});

test("it does not get the agent's flags, in which passwords may be, and all else of its environment", () => {
  const env = { PATH: "/bin", ROUTELET_FLAGS: "--peer-router-passwords=c2VjcmV0" };
  expect(guestEnvironment(env)).toEqual({ PATH: "/bin" });
});
