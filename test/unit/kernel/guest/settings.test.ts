import { describe, expect, test } from "bun:test";
import { settingsOf } from "../../../../src/kernel/guest/settings.ts";

const DECLARED = {
  range: { default: "1-1024", help: "Ports" },
  count: { default: 3, help: "How many" },
  on: { default: true, help: "Whether" },
  names: { default: ["a"], help: "Which" },
};

describe("the options of a plugin", () => {
  test("are their defaults where nothing is given", () => {
    expect(settingsOf(DECLARED, {})).toEqual({ range: "1-1024", count: 3, on: true, names: ["a"] });
  });

  test("are read from the texts of flags as their defaults' types", () => {
    expect(settingsOf(DECLARED, { range: "1-9", count: "7", on: "false", names: "x, y" }))
      .toEqual({ range: "1-9", count: 7, on: false, names: ["x", "y"] });
  });

  test("are taken from YAML as they are", () => {
    const given = { range: "1-9", count: 7, on: false, names: ["x"] };
    expect(settingsOf(DECLARED, given)).toEqual(given);
  });

  const wrong: readonly (readonly [object, string])[] = [
    [{ rang: "1" }, 'Option "rang" is unknown: it takes range, count, on, names'],
    [{ count: "many" }, 'Option "count" cannot be "many": allowed is a number, such as 3'],
    [{ count: "" }, 'Option "count" cannot be "": allowed is a number, such as 3'],
    [{ on: "yes" }, 'Option "on" cannot be "yes": allowed is true or false, such as true'],
    [{ range: 5 }, 'Option "range" cannot be 5: allowed is a text, such as "1-1024"'],
    [{ names: [1] }, 'Option "names" cannot be [1]: allowed is a list of texts, such as ["a"]'],
  ];
  test.each(wrong)("%j is refused", (given, message) => {
    expect(() => settingsOf(DECLARED, { ...given })).toThrow(message);
  });

  test("of a plugin that declares none are all unknown", () => {
    expect(() => settingsOf({}, { a: "1" })).toThrow('Option "a" is unknown: it takes none');
  });
});
