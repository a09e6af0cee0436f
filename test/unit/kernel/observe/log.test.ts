import { describe, expect, test } from "bun:test";
import { createLogger, testLogger } from "../../../../src/kernel/observe/log.ts";

function collect(verbosity: number, format: "text" | "json" = "text") {
  const lines: string[] = [];
  return {
    lines,
    log: createLogger({ verbosity, format, write: (line) => void lines.push(line) }),
  };
}

describe("createLogger()", () => {
  test("writes one line of text an event, quoting what needs it", () => {
    const { log, lines } = collect(0);
    log.info("Service synced", {
      service: "default/web",
      took: 1.5,
      note: 'two "words"',
      list: [1],
    });
    expect(lines.length).toBe(1);
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO {2}Service synced {2}service=default\/web took=1\.5 note="two \\"words\\"" list=\[1\]\n$/,
    );
  });

  test("keeps a line one line, whatever the values hold", () => {
    const { log, lines } = collect(0);
    log.warn("odd", { value: "a\nb", escape: "\u001b[31m" });
    expect(lines[0]?.trimEnd()).not.toContain("\n");
    expect(lines[0]).not.toContain("\u001b");
  });

  test("keeps a line one line whatever its message or the names of its fields hold", () => {
    for (const format of ["text", "json"] as const) {
      const { log, lines } = collect(0, format);
      const forged = "done\r\n2026-01-01T00:00:00.000Z ERROR  Linux refused\u009b2J\u2028\u202e";
      log.info(forged, { "a\nb=c": forged });
      log.child({ "x\ny": 1 }).info("child");
      expect(lines).toHaveLength(2);
      for (const line of lines) expect(line.slice(0, -1)).not.toMatch(/[\r\n]/);
      if (format === "text") expect(lines[0]).not.toMatch(/[\u0080-\u009f\u2028\u202e]/);
      expect(lines[0]).toContain("done");
    }
  });

  test("lets no field take the place of a line's time, level or message", () => {
    for (const format of ["text", "json"] as const) {
      const { log, lines } = collect(0, format);
      log.info("true", { level: "error", time: "1970", message: "false" });
      expect(lines[0]).not.toMatch(/^1970|ERROR/);
      if (format === "text") {
        expect(lines[0]).toContain("INFO  true  level_=error time_=1970 message_=false");
      } else {
        expect(JSON.parse(lines[0] ?? "")).toMatchObject({
          level: "info",
          message: "true",
          level_: "error",
          message_: "false",
        });
      }
    }
  });

  test("writes JSON that carries the same", () => {
    const { log, lines } = collect(0, "json");
    log.child({ plugin: "proxy" }).error("Linux refused", {
      error: new Error("no", { cause: new Error("why") }),
    });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "error",
      plugin: "proxy",
      message: "Linux refused",
      error: "no: why",
    });
  });

  test("shows debug from -v 1 on and info not below 0", () => {
    const counts = [-1, 0, 1, 2].map((verbosity) => {
      const { log, lines } = collect(verbosity);
      log.debug("d");
      log.info("i");
      log.warn("w");
      log.error("e");
      return lines.length;
    });
    expect(counts).toEqual([2, 3, 4, 4]);
  });

  test("hides fields that are named like secrets, however deep", () => {
    const { log, lines } = collect(0);
    log.info("peers", {
      password: "hunter2",
      peerRouterPasswords: ["hunter2"],
      nested: { auth: { bearerToken: "hunter2" }, list: [{ clientSecret: "hunter2" }] },
      error: { authorization: "Bearer hunter2" },
    });
    log.child({ token: "hunter2" }).info("child");
    expect(lines.join("")).not.toContain("hunter2");
    expect(lines[0]).toContain("password=***");
  });

  test("takes values that JSON does not: big numbers, sets, maps, bytes, circles", () => {
    const { log, lines } = collect(0);
    const circle: { self?: unknown } = {};
    circle.self = circle;
    log.info("odd", {
      big: 2n ** 64n,
      set: new Set(["a"]),
      map: new Map([["k", 1]]),
      bytes: new Uint8Array(3),
      circle,
    });
    expect(lines[0]).toContain("big=18446744073709551616");
    expect(lines[0]).toContain('set=["a"]');
    expect(lines[0]).toContain('map={"k":1}');
    expect(lines[0]).toContain('bytes="3 bytes"');
  });
});

test("testLogger() collects what it and its children log", () => {
  const log = testLogger();
  log.child({ plugin: "proxy" }).warn("late", { by: 3, password: "x" });
  log.debug("quiet");
  expect(log.lines).toEqual([
    { level: "warn", message: "late", fields: { plugin: "proxy", by: 3, password: "***" } },
    { level: "debug", message: "quiet", fields: {} },
  ]);
});
