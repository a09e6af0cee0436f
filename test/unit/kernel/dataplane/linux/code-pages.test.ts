import { expect, test } from "bun:test";
import { join } from "node:path";
import { codeOf } from "../../../../../src/kernel/dataplane/linux/code-pages.ts";

const MAPS = `00200000-01a39000 r--p 00000000 fe:00 2188270    /usr/local/bin/routelet
01a40000-0684a000 r-xp 01838000 fe:00 2188270    /usr/local/bin/routelet
06867000-06f62000 rw-p 0665e000 fe:00 2188270    /usr/local/bin/routelet
3324b000000-3328b000000 rw-p 00000000 00:00 0
3428b000000-3428b100000 rwxp 00000000 00:00 0    [anon:JIT]
7f6b99cfe000-7f6b99e54000 r-xp 00026000 fe:00 339380    /usr/lib/x86_64-linux-gnu/libc.so.6
`;

test("only code of that file is let go of: no data, no other file, nothing that was compiled here", () => {
  expect(codeOf(MAPS, "/usr/local/bin/routelet")).toEqual([{
    start: 0x1a40000,
    length: 0x4e0a000,
  }]);
  expect(codeOf(MAPS, "/usr/local/bin/other")).toEqual([]);
});

test("a process goes on after it let go of its code, and holds less", () => {
  const module = join(
    import.meta.dir,
    "../../../../../src/kernel/dataplane/linux/code-pages.ts",
  );
  const script = `
    import { releaseCode } from ${JSON.stringify(module)};
    const { readFileSync } = require("node:fs");
    const file = () => Number(/RssFile:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
    const before = file();
    const bytes = releaseCode();
    const after = file();
    const text = JSON.stringify({ works: new Intl.NumberFormat("en").format(1e6) });
    console.log(JSON.stringify({ bytes, less: before - after, text }));
  `;
  const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", script]);
  expect(stderr.toString()).toBe("");
  const { bytes, less, text } = JSON.parse(stdout.toString());
  expect(bytes).toBeGreaterThan(0);
  expect(less).toBeGreaterThan(5_000);
  expect(text).toBe('{"works":"1,000,000"}');
});
