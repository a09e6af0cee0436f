import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const UNIT = join(import.meta.dir, "../../../deploy/systemd/routelet.service");
const TOOL = Bun.which("systemd-analyze");
const LACKS = TOOL === null ? " (left out: no systemd-analyze here)" : "";

test.skipIf(TOOL === null)(`systemd has nothing to say against the unit${LACKS}`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "routelet-unit-"));
  const file = join(folder, "routelet.service");
  const verdict = async (text: string): Promise<string> => {
    writeFileSync(file, text);
    const child = Bun.spawn([TOOL ?? "", "verify", "--man=no", file], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    // Of this unit: others of this machine are none of ours.
    return `${out}${err}`.split("\n").filter((line) => line.includes("routelet")).join("\n");
  };
  try {
    const text = readFileSync(UNIT, "utf8");
    // It looks for the program, which is not installed here.
    const here = text.replaceAll("/usr/local/bin/routelet", "/bin/true");
    expect(here).not.toBe(text);
    expect(await verdict(here)).toBe("");
    expect(await verdict(here.replace("KillMode=", "KilMode="))).toContain("KilMode");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
