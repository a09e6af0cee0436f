/** Installation on a bare host, in a folder that stands for its root. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { install, uninstall } from "../../../src/cli/install.ts";
import { CNI_FILE, CNI_TEXT, defaultsText, UNIT_TEXT } from "../../../src/cli/install-files.ts";
import type { Io } from "../../../src/cli/io.ts";
import { parseFlags } from "../../../src/cli/parse-flags.ts";
import { documents, type Fields } from "../../support/kustomize.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy");
let root = "";
let executable = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "routelet-root-"));
  executable = join(root, "routelet-linux-x64");
  writeFileSync(executable, "version 1");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function ran(work: (io: Io) => number | Promise<number>): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await work({
    stdout: (text) => out += text,
    stderr: (text) => err += text,
    env: {},
    isRoot: true,
  });
  return { code, out: out.replaceAll(root, ""), err: err.replaceAll(root, "") };
}
const machine = () => ({ executable, systemctl: undefined });
const flagsOf = (args: readonly string[]) => parseFlags([`--root=${root}`, ...args]).flags;
const installing = (...args: readonly string[]) =>
  ran((io) => install(flagsOf(args), io, [], machine()));
const uninstalling = (...args: readonly string[]) =>
  ran((io) => uninstall(flagsOf(args), io, machine()));
const read = (path: string) => readFileSync(join(root, path), "utf8");
function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
/** All files and folders of the root but the executable that is installed from. */
const everything = () =>
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => name !== "routelet-linux-x64").toSorted();

describe("install", () => {
  test("brings executable, unit, flags, folder of plugins and CNI configuration, and names each file", async () => {
    const { code, out } = await installing("--kubeconfig=/root/kubeconfig", "--run-router");
    expect(code).toBe(0);
    expect(out).toBe(
      "wrote /usr/local/bin/routelet\nwrote /etc/systemd/system/routelet.service\nwrote /etc/default/routelet\n" +
        `wrote ${CNI_FILE}\nnoted it in /var/lib/routelet/installed.json\n` +
        "next: systemctl enable --now routelet (flags are in /etc/default/routelet)\n",
    );
    expect(read("/usr/local/bin/routelet")).toBe("version 1");
    expect(statSync(join(root, "usr/local/bin/routelet")).mode & 0o777).toBe(0o755);
    expect(read("/etc/systemd/system/routelet.service")).toBe(UNIT_TEXT);
    expect(read("/etc/default/routelet")).toEndWith(
      'ROUTELET_FLAGS="--kubeconfig=/root/kubeconfig --run-router=true"\n',
    );
    expect(statSync(join(root, "etc/default/routelet")).mode & 0o777).toBe(0o600);
    expect(read(CNI_FILE)).toBe(CNI_TEXT);
    expect(existsSync(join(root, "etc/routelet/plugins.d"))).toBe(true);
  });

  test("twice is once", async () => {
    await installing("--run-router");
    const before = everything();
    const { code, out } = await installing();
    expect(code).toBe(0);
    expect(out).not.toContain("wrote");
    expect(out).toContain("kept /etc/default/routelet: no flags were given");
    expect(everything()).toEqual(before);
  });

  test("upgrades what it brought, and keeps flags that were changed by hand", async () => {
    await installing("--run-router");
    write("/etc/default/routelet", 'ROUTELET_FLAGS="--run-router -v=1"\n');
    writeFileSync(executable, "version 2");
    const { code, out } = await installing("--run-router", "--run-firewall");
    expect(code).toBe(0);
    expect(out).toContain("wrote /usr/local/bin/routelet\n");
    expect(out).toContain("kept /etc/default/routelet: it was changed by hand\n");
    expect(read("/usr/local/bin/routelet")).toBe("version 2");
    expect(read("/etc/default/routelet")).toContain("-v=1");
  });

  test("writes nothing at all where a file of others is in the way, and says what helps", async () => {
    write("/etc/systemd/system/routelet.service", "[Unit]\nDescription=mine\n");
    const before = everything();
    const { code, err } = await installing();
    expect(code).toBe(1);
    expect(err).toBe(
      'routelet: Cannot install "/etc/systemd/system/routelet.service": it is there and not of this installation; ' +
        "move it away\nroutelet: Nothing was written\n",
    );
    expect(everything()).toEqual(before);
  });

  test("does not overwrite what was changed since", async () => {
    await installing();
    write("/etc/systemd/system/routelet.service", `${UNIT_TEXT}# mine\n`);
    const { code, err } = await installing();
    expect(code).toBe(1);
    expect(err).toContain("it was changed since it was installed; move it away");
  });

  test("that fails in the middle of an upgrade can be tried again, and undone", async () => {
    await installing();
    writeFileSync(executable, "version 2");
    // As a full disk: the new text cannot be put beside the old one.
    const blocker = join(root, "usr/local/bin/routelet.routelet-new");
    mkdirSync(blocker);
    expect((await installing()).code).toBe(1);
    expect(read("/usr/local/bin/routelet")).toBe("version 1");
    rmSync(blocker, { recursive: true, force: true });
    const { code, err } = await installing();
    expect([code, err]).toEqual([0, ""]);
    expect(read("/usr/local/bin/routelet")).toBe("version 2");
  });

  test("notes an upgrade that was copied there by hand, so that the next one and the removal know it", async () => {
    await installing();
    writeFileSync(executable, "version 2");
    write("/usr/local/bin/routelet", "version 2");
    await installing();
    writeFileSync(executable, "version 3");
    expect((await installing()).err).toBe("");
    await uninstalling();
    expect(existsSync(join(root, "usr/local/bin/routelet"))).toBe(false);
  });

  test("leaves a symbolic link to nowhere where it is", async () => {
    mkdirSync(join(root, "usr/local/bin"), { recursive: true });
    symlinkSync("/nowhere/routelet", join(root, "usr/local/bin/routelet"));
    const { code, err } = await installing();
    expect(code).toBe(1);
    expect(err).toContain("it is a symbolic link to nowhere; move it away");
    expect(readlinkSync(join(root, "usr/local/bin/routelet"))).toBe("/nowhere/routelet");
  });

  test.each(["etc", "var", "usr"])(
    "does not follow a link of an image's /%s to this host",
    async (top) => {
      const outside = mkdtempSync(join(tmpdir(), "routelet-outside-"));
      try {
        symlinkSync(outside, join(root, top));
        const { code, err } = await installing();
        expect(code).toBe(1);
        expect(err).toContain("a symbolic link leads out of");
        expect(readdirSync(outside)).toEqual([]);
      } finally {
        rmSync(outside, { recursive: true, force: true });
      }
    },
  );

  test("takes / by no other name for an image", () => {
    for (const other of ["//", "/.", "/tmp/.."]) {
      expect(() => flagsOf([`--root=${other}`])).toThrow("an absolute path");
    }
  });

  test("takes an executable for its own that was copied there by hand", async () => {
    write("/usr/local/bin/routelet", "version 1");
    expect((await installing()).out).toContain(
      "kept /usr/local/bin/routelet: it is as it should be",
    );
    await uninstalling();
    expect(existsSync(join(root, "usr/local/bin/routelet"))).toBe(false);
  });

  test("--dry-run says the same and writes nothing", async () => {
    const before = everything();
    const { code, out } = await installing("--dry-run", "--run-router");
    expect(code).toBe(0);
    expect(out).toContain(`would write ${CNI_FILE}\n`);
    expect(everything()).toEqual(before);
  });

  test("refuses flags that a unit would split, by name", async () => {
    const { code, err } = await installing("--peer-router-passwords-file=/etc/my secrets");
    expect(code).toBe(1);
    expect(err).toContain("Cannot write flag --peer-router-passwords-file");
    expect(() => defaultsText(flagsOf(["--manifests=/a b"]))).toThrow("has a blank");
  });

  test("is no file of Bun's own that it installs", async () => {
    executable = join(root, "bun");
    expect((await installing()).err).toContain("it is no routelet; run make build");
  });
});

describe("the CNI configuration", () => {
  const cni = (...words: readonly string[]) =>
    ran((io) => install(flagsOf([]), io, ["cni", ...words], machine()));

  test("comes alone where the DaemonSet asks for it, with the text of its ConfigMap", async () => {
    const text = '{"name":"x","plugins":[{"type":"bridge","ipam":{"type":"host-local"}}]}';
    write("/etc/routelet/cni/10-kuberouter.conflist", text);
    expect((await cni()).code).toBe(0);
    expect(read(CNI_FILE)).toBe(text);
    expect(existsSync(join(root, "usr"))).toBe(false);
  });

  test("stays where one is there, under either name", async () => {
    write("/etc/cni/net.d/10-kuberouter.conf", "{}");
    const { code, out } = await cni();
    expect([code, out.split("\n")[0]]).toEqual([
      0,
      "kept /etc/cni/net.d/10-kuberouter.conf: it is there already",
    ]);
    expect(existsSync(join(root, CNI_FILE))).toBe(false);
  });

  test("is refused where kubelet would take another's, and not for those behind", async () => {
    write("/etc/cni/net.d/87-podman-bridge.conflist", "{}");
    expect((await cni()).code).toBe(0);
    rmSync(join(root, CNI_FILE));
    write("/etc/cni/net.d/05-cilium.conflist", "{}");
    expect((await cni()).err).toContain(
      '"05-cilium.conflist" is in that folder, and kubelet takes the first by name',
    );
  });

  test("is refused where the template is none", async () => {
    write("/etc/routelet/cni/10-kuberouter.conflist", "{");
    expect((await cni()).err).toMatch(
      /Cannot use ".*10-kuberouter.conflist": it is no JSON.*; repair it/,
    );
  });

  test("takes no other words", async () => {
    expect((await cni("more")).code).toBe(2);
  });

  test("is that of the manifests", () => {
    const [map] = documents(join(DEPLOY, "kustomize/base/cni.yaml"));
    const text = (map?.["data"] as Fields)["10-kuberouter.conflist"];
    expect(JSON.parse(`${text}`)).toEqual(JSON.parse(CNI_TEXT));
  });
});

describe("uninstall", () => {
  test("leaves nothing, folders included, and names each file", async () => {
    const before = everything();
    await installing("--run-router");
    write("/etc/default/routelet", "changed by hand");
    const { code, out } = await uninstalling();
    expect(code).toBe(0);
    expect(out).toContain("removed /usr/local/bin/routelet\n");
    expect(out).toContain("removed /etc/routelet/plugins.d\n");
    expect(everything()).toEqual(before);
    expect((await uninstalling()).out).toBe("no file was installed\n");
  });

  test("keeps what is others', and what was changed since", async () => {
    write("/etc/cni/net.d/99-loopback.conf", "{}");
    await installing("--run-router");
    write(CNI_FILE, '{"mine":true}');
    write("/etc/routelet/plugins.d/mine.ts", "");
    const { out } = await uninstalling();
    expect(out).toContain(`kept ${CNI_FILE}: it was changed since it was installed\n`);
    expect(read("/etc/cni/net.d/99-loopback.conf")).toBe("{}");
    expect(existsSync(join(root, "etc/routelet/plugins.d/mine.ts"))).toBe(true);
  });

  test("--dry-run only says what would go", async () => {
    await installing();
    const before = everything();
    expect((await uninstalling("--dry-run")).out).toContain(
      "would remove /usr/local/bin/routelet\n",
    );
    expect(everything()).toEqual(before);
  });

  test("a record that cannot be read is an error with its path", async () => {
    write("/var/lib/routelet/installed.json", "[");
    expect((await installing()).err).toMatch(
      /Cannot use ".*installed.json", which says what was installed: .*; remove it/,
    );
  });
});

test("the unit in deploy/ is the one that install writes", () => {
  expect(readFileSync(join(DEPLOY, "systemd/routelet.service"), "utf8")).toBe(UNIT_TEXT);
});
