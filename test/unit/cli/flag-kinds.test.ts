import { describe, expect, test } from "bun:test";
import { parseGoDuration, showGoDuration } from "../../../src/cli/flag-kinds.ts";

describe("parseGoDuration()", () => {
  // From the table of Go's own time.ParseDuration tests, in milliseconds.
  test.each([
    ["0", 0],
    ["5s", 5000],
    ["30s", 30_000],
    ["1478s", 1_478_000],
    ["-5s", -5000],
    ["+5s", 5000],
    ["-0", 0],
    ["+0", 0],
    ["5.0s", 5000],
    ["5.6s", 5600],
    ["5.s", 5000],
    [".5s", 500],
    ["1.0s", 1000],
    ["1.004s", 1004],
    ["100.00100s", 100_001],
    ["10ns", 1e-5],
    ["11us", 0.011],
    ["12µs", 0.012],
    ["12μs", 0.012],
    ["13ms", 13],
    ["14s", 14_000],
    ["15m", 900_000],
    ["16h", 57_600_000],
    ["3h30m", 12_600_000],
    ["10.5s4m", 250_500],
    ["-2m3.4s", -123_400],
    ["1h2m3s4ms5us6ns", 3_723_004.005006],
    ["39h9m14.425s", 140_954_425],
    ["0.100000000000000000000h", 360_000],
  ])("%s", (text, ms) => {
    expect(parseGoDuration(text) ?? NaN).toBeCloseTo(ms, 6);
  });

  test.each([
    "",
    "3",
    "-",
    "s",
    ".",
    "-.",
    ".s",
    "+.s",
    "1d",
    "1 s",
    "1s ",
    "1e3s",
    "9223372036855s0",
  ])(
    "refuses %j",
    (text) => {
      expect(parseGoDuration(text)).toBeUndefined();
    },
  );

  test("refuses more than Go's 292 years", () => {
    expect(parseGoDuration("2562047h")).toBe(2_562_047 * 3_600_000);
    expect(parseGoDuration("2562048h")).toBeUndefined();
  });
});

test("showGoDuration() prints as Go does", () => {
  const shown = [
    0,
    1e-6,
    0.0011,
    2.2,
    3300,
    60_000,
    90_000,
    300_000,
    245_001,
    18_360_001,
    65_536_000,
  ];
  expect(shown.map(showGoDuration)).toEqual([
    "0s",
    "1ns",
    "1.1µs",
    "2.2ms",
    "3.3s",
    "1m0s",
    "1m30s",
    "5m0s",
    "4m5.001s",
    "5h6m0.001s",
    "18h12m16s",
  ]);
  expect(showGoDuration(-1500)).toBe("-1.5s");
});
