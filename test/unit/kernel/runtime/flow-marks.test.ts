import { describe, expect, test } from "bun:test";
import type { Flow } from "../../../../src/kernel/dataplane/dataplane.ts";
import { KernelError } from "../../../../src/kernel/dataplane/errors.ts";
import { FlowMarks } from "../../../../src/kernel/runtime/flow-marks.ts";

const BIT = 0x100000;
const flow = (source: string, mark = 0): Flow => ({
  family: 4,
  protocol: 6,
  source: { address: source, port: 1 },
  destination: { address: "10.0.0.9", port: 80 },
  answers: { address: "10.0.0.9", port: 80 },
  mark,
  zone: 0,
});

interface Marked {
  readonly sources: readonly string[];
  readonly mark: number;
  readonly mask: number;
}

function made(flows: () => readonly Flow[]) {
  const marked: Marked[] = [];
  const log: string[] = [];
  let looks = 0;
  const marks = new FlowMarks({
    all: (family) => {
      if (family === 4) looks++;
      return Promise.resolve(family === 4 ? flows() : []);
    },
    mark: (list, mark, mask) =>
      void marked.push({ sources: list.map(({ source }) => source.address), mark, mask }),
  }, { info: (text) => void log.push(text), warn: (text) => void log.push(text), debug() {} });
  return { marks, marked, log, looks: () => looks };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

describe("established connections", () => {
  test("are marked where they are denied by now, freed where they are allowed again, and else left alone", async () => {
    const flows = [
      flow("10.0.0.1"),
      flow("10.0.0.2", 0x7),
      flow("10.0.0.3", BIT | 0x7),
      flow("10.0.0.4", BIT),
    ];
    const { marks, marked, log } = made(() => flows);
    marks.add({
      mark: BIT,
      concerns: () => true,
      begin: () => ({ source }) => source.address === "10.0.0.2" || source.address === "10.0.0.4",
    });
    marks.observer.round?.({ ms: 1, ok: true });
    await until(() => marked.length === 2);
    expect(marked).toEqual([
      { sources: ["10.0.0.2"], mark: BIT, mask: BIT },
      { sources: ["10.0.0.3"], mark: 0, mask: BIT },
    ]);
    expect(log).toEqual(["Cut connections"]);
    marks.close();
  });

  test("are looked at after the first round and after those that changed Linux", async () => {
    const { marks, looks } = made(() => []);
    marks.add({ mark: BIT, concerns: () => true, begin: () => () => false });
    marks.observer.round?.({ ms: 1, ok: true });
    await until(() => looks() === 1);
    marks.observer.round?.({ ms: 1, ok: true });
    marks.observer.ops?.("chain", "update", true, 1);
    marks.observer.round?.({ ms: 1, ok: true });
    await until(() => looks() === 2);
    expect(looks()).toBe(2);
    marks.close();
  });

  test("go on with a warning where Linux does not tell of them", async () => {
    const { marks, log } = made(() => {
      throw new KernelError("list conntrack", "ENOSUPPORT");
    });
    marks.add({ mark: BIT, concerns: () => true, begin: () => () => false });
    marks.observer.round?.({ ms: 1, ok: true });
    await until(() => log.length > 0);
    expect(log).toEqual(["Established connections go on, though they may be denied"]);
    marks.close();
  });
});
