import { expect, test } from "bun:test";
import { isUnasked } from "../../../src/cli/shipped-plugins.ts";

const asked = (plugin: Readonly<Record<string, Readonly<Record<string, string>>>> = {}) => {
  const isSkipped = isUnasked({ plugin }, ["hostport"], "/opt/plugins.d");
  return (file: string, name = "hostport", isConfigured = false) =>
    !isSkipped(file, name, isConfigured);
};

test("a plugin that ships runs where a flag names it or sets an option, or a YAML file lies beside it", () => {
  expect(asked()("/opt/plugins.d/hostport.ts")).toBeFalse();
  expect(asked({ hostport: {} })("/opt/plugins.d/hostport.ts")).toBeTrue();
  expect(asked({ hostport: { range: "1-9" } })("/opt/plugins.d/hostport.ts")).toBeTrue();
  expect(asked()("/opt/plugins.d/hostport.ts", "hostport", true)).toBeTrue();
});

test("any other plugin runs without a word, and so does a copy elsewhere", () => {
  expect(asked()("/opt/plugins.d/mine.ts", "mine")).toBeTrue();
  expect(asked()("/etc/routelet/plugins.d/hostport.ts")).toBeTrue();
});
