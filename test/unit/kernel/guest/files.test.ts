/** Which files count as plugins, which of them are trusted, and what their numbers are. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openProtocols } from "../../../../src/kernel/guest/protocols.ts";
import { scan } from "../../../../src/kernel/guest/scan.ts";
import { distrust, fingerprint } from "../../../../src/kernel/guest/trust.ts";

/** The tests need not run as root. */
const ME = process.getuid?.() ?? 0;
let folder = "";

beforeEach(() => folder = mkdtempSync(join(tmpdir(), "routelet-guest-")));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, mode = 0o644): string {
  const file = join(folder, name);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, "export default {};\n");
  chmodSync(file, mode);
  return file;
}

describe("a plugin's file is trusted", () => {
  test("where its owner alone can write it", () => {
    expect(distrust(write("a.ts"), ME)).toBeUndefined();
  });

  test("not where others can write it", () => {
    const file = write("a.ts", 0o646);
    expect(distrust(file, ME)).toBe(
      `it can be written by others than its owner, and plugins run as root; run chmod go-w "${file}"`,
    );
  });

  test("not where its group can write it", () => {
    expect(distrust(write("a.ts", 0o664), ME)).toContain("can be written by others");
  });

  test("not where another user owns it", () => {
    const file = write("a.ts");
    expect(distrust(file, ME + 1)).toContain(`belongs to user ${ME}`);
  });

  test("not where others can put another file in its place", () => {
    const file = write("open/a.ts");
    chmodSync(join(folder, "open"), 0o777);
    expect(distrust(file, ME)).toContain(`its folder "${join(folder, "open")}" can be written`);
  });

  test("not where a file of its folder can be written by others", () => {
    write("a/mod.ts");
    const part = write("a/lib/part.ts", 0o666);
    expect(distrust(join(folder, "a"), ME)).toContain(
      `its file "${part}" can be written by others`,
    );
  });

  test("not where it is a link to a file that others can write", () => {
    const target = write("far/b.ts", 0o666);
    const link = join(folder, "a.ts");
    symlinkSync(target, link);
    expect(distrust(link, ME)).toContain("can be written by others");
  });

  test("not where it is not there", () => {
    expect(distrust(join(folder, "none.ts"), ME)).toContain("it cannot be read");
  });
});

describe("the fingerprint of a plugin", () => {
  test("changes with a file below its folder", () => {
    write("a/mod.ts");
    const part = write("a/lib/part.ts");
    const before = fingerprint(join(folder, "a"));
    expect(fingerprint(join(folder, "a"))).toBe(before);
    utimesSync(part, 1, 1);
    expect(fingerprint(join(folder, "a"))).not.toBe(before);
  });
});

describe("a look at the folders", () => {
  const names = () => scan([folder], ["proxy"]).map(({ name }) => name);

  test("finds files and folders with a module, and nothing else", () => {
    for (const file of ["a.ts", "b.js", "c/mod.ts", "d/mod.js"]) write(file);
    for (const file of ["a.d.ts", "a.test.ts", "a.yaml", ".e.ts", "f/other.ts", "note.txt"]) {
      write(file);
    }
    symlinkSync(join(folder, "nowhere"), join(folder, "g.ts"));
    expect(names()).toEqual(["a", "b", "c", "d", "g"]);
  });

  test("finds nothing where there is no folder", () => {
    expect(scan([join(folder, "none")], [])).toEqual([]);
  });

  test("refuses names that are none, and those of built-in plugins", () => {
    write("Bad_Name.ts");
    write("proxy.ts");
    expect(scan([folder], ["proxy"]).map(({ refusal }) => refusal)).toEqual([
      '"Bad_Name" is no name for a plugin: allowed are lower-case letters, digits and dashes; rename the file',
      '"proxy" is the name of a built-in plugin; rename the file',
    ]);
  });

  test("takes the first of two with one name, and names the other by its file", () => {
    const first = write("one/a.ts");
    const second = write("two/a.js");
    const found = scan([join(folder, "one"), join(folder, "two")], []);
    expect(found.map(({ name }) => name)).toEqual(["a", second]);
    expect(found[1]?.refusal).toBe(`"${first}" has the same name; remove one of them`);
  });

  test("sees a change of the configuration beside a plugin", () => {
    write("a.ts");
    const [before] = scan([folder], []);
    write("a.yaml");
    const [after] = scan([folder], []);
    expect(before?.config).toBeUndefined();
    expect(after?.config).toBe(join(folder, "a.yaml"));
    expect(after?.fingerprint).not.toBe(before?.fingerprint);
  });
});

describe("the route protocol number of a plugin", () => {
  test("is its own, and stays the same for a later agent", () => {
    const protocols = openProtocols(folder);
    const numbers = Array.from({ length: 51 }, (_, i) => protocols.of(`plugin-${i}`));
    expect(new Set(numbers).size).toBe(51);
    expect(Math.min(...numbers)).toBe(204);
    expect(Math.max(...numbers)).toBe(254);
    expect(() => protocols.of("one-more")).toThrow("There are 51 plugins already");
    const later = openProtocols(folder);
    expect(later.of("plugin-7")).toBe(numbers[7] ?? 0);
    later.forget("plugin-7");
    expect(openProtocols(folder).owners().map(({ name }) => name)).not.toContain("plugin-7");
  });

  test("comes from its name where the file is lost", () => {
    const peeked = openProtocols(folder).peek("hostport");
    expect(openProtocols(folder).owners()).toEqual([]);
    const number = openProtocols(folder).of("hostport");
    expect(number).toBe(peeked);
    writeFileSync(join(folder, "plugins.json"), "no json");
    expect(openProtocols(folder).owners()).toEqual([]);
    expect(openProtocols(folder).of("hostport")).toBe(number);
  });
});
