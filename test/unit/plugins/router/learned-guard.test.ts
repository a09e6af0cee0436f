import { expect, test } from "bun:test";
import { learnedGuard } from "../../../../src/plugins/router/learned-guard.ts";

test("many learned prefixes are told once at each power of ten, and again when there were few between", () => {
  const told: unknown[] = [];
  const guard = learnedGuard({ warn: (_message, fields) => void told.push(fields) });
  for (const prefixes of [9_999, 10_000, 10_001, 99_999, 600_000, 900_000]) guard(prefixes);
  expect(told).toEqual([{ prefixes: 10_000 }, { prefixes: 600_000 }]);
  for (const prefixes of [6_000, 12_000, 4_999, 15_000]) guard(prefixes);
  expect(told).toHaveLength(3);
  expect(told[2]).toEqual({ prefixes: 15_000 });
});
