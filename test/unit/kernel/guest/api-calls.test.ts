import { describe, expect, test } from "bun:test";
import { ApiFailed, type ClusterApi } from "../../../../src/kernel/cluster/cluster-api.ts";
import { answeringApi, type ApiCall, askingApi } from "../../../../src/kernel/guest/api-calls.ts";

/** Both sides, with copies between them as between processes. */
function across(api: Partial<ClusterApi>): ClusterApi {
  const answer = answeringApi(api as ClusterApi);
  const asking = askingApi((call) => {
    const copy = structuredClone(call);
    void answer(copy, (given) => asking.take(structuredClone(given)));
  });
  return asking.api;
}

const failure = (promise: Promise<unknown>) => promise.catch((error) => error);

describe("questions of a plugin's process to the API server", () => {
  test("get each its own answer, in whatever order they come", async () => {
    const waiting = new Map<string, (lease: undefined) => void>();
    const api = across({
      getLease: (key) => new Promise((resolve) => waiting.set(key, resolve)),
      list: () => Promise.resolve([]),
    });
    const order: string[] = [];
    const asked = ["a/x", "a/y"].map((key) => api.getLease(key).then(() => order.push(key)));
    expect(await api.list("services")).toEqual([]);
    waiting.get("a/y")?.(undefined);
    waiting.get("a/x")?.(undefined);
    await Promise.all(asked);
    expect(order).toEqual(["a/y", "a/x"]);
  });

  test("fail there as here, with the word that says what to do", async () => {
    const api = across({
      getLease: () => Promise.reject(new ApiFailed("conflict", "It was changed")),
      emit: () => {
        throw new TypeError("undefined is no object");
      },
    });
    expect(await failure(api.getLease("a/b"))).toMatchObject({
      code: "conflict",
      message: "It was changed",
    });
    expect(await failure(api.emit({} as never))).toMatchObject({ code: "invalid" });
  });

  test("list one kind after the other, and go on behind one that fails", async () => {
    let now = 0;
    let most = 0;
    const api = across({
      async list(kind) {
        most = Math.max(most, ++now);
        await Promise.resolve();
        now--;
        if (kind === "pods") throw new ApiFailed("unavailable", "No answer");
        return [];
      },
    });
    const asked = ["pods", "services", "nodes"].map((kind) =>
      api.list(kind as "pods").then(() => "done", ({ code }) => code)
    );
    expect(await Promise.all(asked)).toEqual(["unavailable", "done", "done"]);
    expect(most).toBe(1);
  });

  test("write nothing in a dry run, and read", async () => {
    const called: string[] = [];
    const note = (name: string) => () => {
      called.push(name);
      return Promise.resolve();
    };
    const answer = answeringApi(
      Object.fromEntries(
        ["list", "patchIngress", "emit", "writeLease"].map((name) => [name, note(name)]),
      ) as unknown as ClusterApi,
      true,
    );
    const codes: unknown[] = [];
    for (const method of ["list", "patchIngress", "emit", "writeLease"]) {
      const call: ApiCall = { type: "api", number: 1, method, args: [] };
      await answer(call, ({ failure }) => codes.push(failure?.code));
    }
    expect(called).toEqual(["list"]);
    expect(codes).toEqual([undefined, "unavailable", "unavailable", "unavailable"]);
  });

  test("are answered before the plugin is set up, too", async () => {
    const answers: unknown[] = [];
    const call: ApiCall = { type: "api", number: 7, method: "list", args: ["services"] };
    await answeringApi(undefined)(call, (answer) => answers.push(answer));
    expect(answers).toMatchObject([{ number: 7, failure: { code: "unavailable" } }]);
  });

  test("that are no plain data fail at once", async () => {
    const api = across({ emit: () => Promise.resolve() });
    expect(await failure(api.emit({ message: () => "x" } as never))).toMatchObject({
      code: "invalid",
    });
  });

  test("cannot reach what is no method of it, nor be open without number", async () => {
    let open = 0;
    const answer = answeringApi({
      getLease: () => {
        open++;
        return new Promise(() => {});
      },
    } as unknown as ClusterApi);
    const answers: unknown[] = [];
    const ask = (number: number, method: string): void => {
      const call: ApiCall = { type: "api", number, method, args: ["a/b"] };
      void answer(call, ({ failure }) => answers.push(failure?.code));
    };
    ask(1, "constructor");
    for (let number = 2; number < 100; number++) ask(number, "getLease");
    await Promise.resolve();
    expect(open).toBe(64);
    expect(new Set(answers)).toEqual(new Set(["invalid", "unavailable"]));
  });
});
