import { describe, expect, test } from "bun:test";
import type { Io } from "../../../src/cli/io.ts";
import { main } from "../../../src/main.ts";

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function routelet(args: readonly string[], set: Partial<Io> = {}): Promise<Result> {
  let out = "";
  let err = "";
  const code = await main(args, {
    stdout: (text) => void (out += text),
    stderr: (text) => void (err += text),
    env: {},
    isRoot: false,
    ...set,
  });
  return { code, out, err };
}

describe("a wrong command line", () => {
  test.each([
    ["an unknown flag", ["--bogus-flag"], 'Unknown flag "--bogus-flag"'],
    ["a bad duration", ["--ipvs-sync-period=5"], 'Flag --ipvs-sync-period cannot be "5"'],
    [
      "a bad CIDR",
      ["--service-cluster-ip-range=10.0.0.0/40"],
      'Flag --service-cluster-ip-range cannot be "10.0.0.0/40"',
    ],
    ["a missing value", ["--kubeconfig"], "Flag --kubeconfig needs a value"],
    ["an unknown command", ["plna"], 'Unknown command "plna"; did you mean "plan"'],
    ["a further word", ["run", "x"], 'Command "run" takes no further words: "x" given'],
    ["an unknown command to help", ["help", "x"], 'Unknown command "x"'],
  ])("%s is refused with exit code 2, whoever asks", async (_name, args, text) => {
    const { code, out, err } = await routelet(args);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toStartWith(`routelet: ${text}`);
  });

  test("of plan is refused with 1, since its 2 means that something would change", async () => {
    expect((await routelet(["plan", "--bogus"])).code).toBe(1);
    expect((await routelet(["plan", "x"])).code).toBe(1);
  });

  test("says where to read on", async () => {
    expect((await routelet(["--bogus"])).err).toEndWith('Try "routelet help"\n');
  });
});

describe("whoever is not root", () => {
  test.each([[[]], [["run"]], [["plan"]], [["cleanup"]], [["--cleanup-config"]]])(
    "is told so by routelet %j",
    async (args) => {
      const { code, err } = await routelet(args);
      expect(code).toBe(1);
      expect(err).toContain("must run as root");
    },
  );

  test("reads help, version and the status", async () => {
    expect((await routelet(["help"])).code).toBe(0);
    expect((await routelet(["version"])).code).toBe(0);
    const { code, err } = await routelet(["status", "--runtime-dir=/nonesuch"]);
    expect(code).toBe(1);
    expect(err).toContain('No agent runs here: nothing answers at "/nonesuch/agent.sock"');
  });
});

describe("help and version", () => {
  test("--help and -h print every flag and exit with 0", async () => {
    const { code, out } = await routelet(["--help"]);
    expect(code).toBe(0);
    expect(out.match(/^ [ *](?: {4}|-\w, )--[a-z]/gm)?.length).toBe(99);
    expect((await routelet(["-h"])).out).toBe(out);
    expect((await routelet(["help"])).out).toBe(out);
  });

  test("of a command tell about that command", async () => {
    const { out } = await routelet(["help", "plan"]);
    expect(out).toContain("routelet plan [FLAGS]");
    expect((await routelet(["plan", "--help"])).out).toBe(out);
  });

  test("--help lines fit in 100 columns", async () => {
    const { out } = await routelet(["help"]);
    expect(out.split("\n").filter((line) => line.length > 100)).toEqual([]);
  });

  test("--version, -V and version print one line", async () => {
    const { out } = await routelet(["version"]);
    expect(out).toMatch(/^routelet \d+\.\d+\.\d+ \(commit \S+, Bun \S+, linux \S+\)\n$/);
    expect((await routelet(["-V"])).out).toBe(out);
    expect((await routelet(["--version"])).out).toBe(out);
  });
});

describe("a source of objects that cannot be read", () => {
  test.each([
    ["--kubeconfig=/nonesuch/config", 'Cannot read kubeconfig "/nonesuch/config": no such file'],
    ["--manifests=/nonesuch", 'Cannot read manifests from "/nonesuch": no such file'],
  ])("%s is named with the reason, before Linux is touched", async (flag, text) => {
    const { code, out, err } = await routelet(
      ["plan", flag, "--runtime-dir=/nonesuch/routelet"],
      { isRoot: true },
    );
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain(text);
  });
});
