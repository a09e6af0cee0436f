import { expect, test } from "bun:test";
import { heartbeats } from "../../../../src/kernel/observe/heartbeat.ts";

test("heartbeats() finds a part late after its period and five seconds of silence", () => {
  let now = 0;
  const beats = heartbeats(() => now);
  beats.expect("proxy", 60_000);
  beats.expect("metrics", 3000);
  now = 8000;
  expect(beats.late()).toEqual([]);
  now = 8001;
  expect(beats.late()).toEqual([{ part: "metrics", silentMs: 8001 }]);
  beats.beat("metrics");
  expect(beats.late()).toEqual([]);
  now = 65_001;
  beats.beat("metrics");
  expect(beats.late()).toEqual([{ part: "proxy", silentMs: 65_001 }]);
});

test("heartbeats() ignores a beat of a part that nobody expects", () => {
  const beats = heartbeats(() => 1e9);
  beats.beat("unknown");
  expect(beats.late()).toEqual([]);
});
