/** The API server across processes: the plugin's side asks by a number, the agent's side checks, does it and answers. */

import { ApiFailed, type ApiFailureCode, type ClusterApi } from "../cluster/cluster-api.ts";
import type { FromGuest, ToGuest } from "./messages.ts";

export type ApiCall = Extract<FromGuest, { type: "api" }>;
export type ApiAnswer = Extract<ToGuest, { type: "api" }>;

const METHODS = ["list", "get", "patchIngress", "emit", "getLease", "writeLease"] as const;
/** What changes something. */
const WRITES: ReadonlySet<string> = new Set(["patchIngress", "emit", "writeLease"]);
/** Questions of one plugin that may be open; more are refused, so that one in a loop does not stall the API server. */
const MOST_OPEN = 64;

/** The plugin's side. */
export function askingApi(post: (call: ApiCall) => void): {
  readonly api: ClusterApi;
  readonly take: (answer: ApiAnswer) => void;
} {
  const open = new Map<number, PromiseWithResolvers<unknown>>();
  let last = 0;
  const ask = (method: (typeof METHODS)[number]) => (...args: readonly unknown[]) => {
    const answer = Promise.withResolvers<unknown>();
    const number = ++last;
    open.set(number, answer);
    try {
      post({ type: "api", number, method, args });
    } catch (error) {
      open.delete(number);
      answer.reject(new ApiFailed("invalid", `It is no plain data: ${textOf(error)}`));
    }
    return answer.promise;
  };
  return {
    api: Object.fromEntries(
      METHODS.map((method) => [method, ask(method)]),
    ) as unknown as ClusterApi,
    take({ number, result, failure }) {
      const answer = open.get(number);
      open.delete(number);
      if (failure === undefined) answer?.resolve(result);
      else answer?.reject(new ApiFailed(failure.code, failure.message));
    },
  };
}

/**
 * The agent's side.
 *
 * @param api as the plugin may use it; absent: it is not set up yet
 * @param isDry nothing is written, whatever the plugin declares
 */
export function answeringApi(
  api: ClusterApi | undefined,
  isDry = false,
): (call: ApiCall, post: (answer: ApiAnswer) => void) => Promise<void> {
  let open = 0;
  /** A list may hold a hundred thousand objects: two of them are not in the agent's memory at once. */
  let listed: Promise<unknown> = Promise.resolve();
  return async ({ number, method, args }, post) => {
    const fail = (code: ApiFailureCode, message: string): void =>
      post({ type: "api", number, failure: { code, message } });
    if (!METHODS.includes(method as never)) return fail("invalid", `There is no "${method}"`);
    if (api === undefined) {
      return fail("unavailable", "The plugin is not set up yet; ask in a background task");
    }
    if (isDry && WRITES.has(method)) {
      return fail("unavailable", "This is a dry run, which writes nothing to the API server");
    }
    if (open >= MOST_OPEN) {
      return fail("unavailable", `${open} questions to the API server are open; await them first`);
    }
    open++;
    try {
      const call = api[method as keyof ClusterApi] as (...args: unknown[]) => Promise<unknown>;
      const made = method === "list" ? listed.then(() => call(...args)) : call(...args);
      if (method === "list") listed = made.catch(() => {});
      post({ type: "api", number, result: await made });
    } catch (error) {
      // What a plugin got wrong may throw anything: an argument that is missing, say.
      const known = error instanceof ApiFailed;
      fail(known ? error.code : "invalid", textOf(error));
    } finally {
      open--;
    }
  };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
