import { expect, test } from "bun:test";
import { join } from "node:path";

const EXECUTE = join(import.meta.dir, "../../../../../src/kernel/dataplane/linux/execute.ts");

/** Runs `code` in a process of its own, with `execute` at hand. */
async function inProcess(code: string) {
  const child = Bun.spawn(
    [process.execPath, "-e", `import { execute } from ${JSON.stringify(EXECUTE)};\n${code}`],
    { stdout: "pipe", stderr: "pipe" },
  );
  const output = await new Response(child.stdout).text();
  await child.exited;
  return { pid: child.pid, output };
}

test("the other program runs as the same process, with these arguments and nothing but this environment", async () => {
  const { pid, output } = await inProcess(
    `execute("/bin/sh", ["name", "-c", 'echo $$ "$0" "$1"; env | grep -v ^_= | sort', "zero", "ünï"], { A: "1", B: undefined, PWD: "/" });`,
  );
  expect(output).toStartWith(`${pid} zero ünï\nA=1\n`);
  expect(output).not.toContain("B=");
  expect(output).not.toContain("PATH=");
});

test("where Linux refuses, the process goes on and knows why", async () => {
  const { output } = await inProcess(
    `try { execute("/does/not/exist", ["x"], {}); } catch (error) { console.log(error.code, error.message); }`,
  );
  expect(output).toContain("ENOENT");
  expect(output).toContain("/does/not/exist");
});

test("a string that holds a NUL is refused, for it would end early", async () => {
  const { output } = await inProcess(
    `try { execute("/bin/true", ["a\\0b"], {}); } catch (error) { console.log(error.code); }`,
  );
  expect(output).toBe("EINVAL\n");
});
