/** A headless Chromium by its DevTools protocol, over a WebSocket: no package, and nothing but what the tests need. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAMS = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/** The browser of this machine; undefined: none. */
export function findBrowser(): string | undefined {
  return PROGRAMS.map((name) => Bun.which(name)).find((path) => path !== null) ?? undefined;
}

export interface Tab {
  /** What an expression comes to in the page; a promise is waited for. @throws {Error} what it throws */
  evaluate<T>(expression: string): Promise<T>;
  /** Until an expression is true. @throws {Error} after 20 s, with the expression and the page's text */
  until(expression: string): Promise<void>;
  /** Presses a key as a person does: "Tab", "Enter", "ArrowRight", "/" … */
  press(key: string): Promise<void>;
  dark(on: boolean): Promise<void>;
  /** PNG of the page's upper part, so many pixels high; the whole window if not said. */
  screenshot(height?: number): Promise<Uint8Array>;
  /** Everything that the console, or an exception that nobody caught, has said. */
  readonly complaints: readonly string[];
  /** URLs of all requests. */
  readonly requests: readonly string[];
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

const WIDTH = 1280;

/** Opens a page in a browser of its own, and ends that afterwards. */
export async function inBrowser(
  program: string,
  url: string,
  work: (tab: Tab) => Promise<void>,
): Promise<void> {
  const profile = mkdtempSync(join(tmpdir(), "routelet-browser-"));
  const browser = Bun.spawn([
    program,
    "--headless",
    // As root in a container there is no sandbox to be had; the page is ours.
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-port=0",
    `--window-size=${WIDTH},900`,
    `--user-data-dir=${profile}`,
    "about:blank",
  ], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  try {
    const socket = new WebSocket(await endpoint(browser.stderr));
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("The browser's DevTools do not answer"));
    });
    await work(await open(socket, url));
    socket.close();
  } finally {
    browser.kill();
    await browser.exited;
    rmSync(profile, { recursive: true, force: true });
  }
}

async function endpoint(stderr: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stderr) {
    text += decoder.decode(chunk, { stream: true });
    const found = /DevTools listening on (ws:\S+)/.exec(text)?.[1];
    if (found !== undefined) return found;
  }
  throw new Error(`The browser ended before it listened:\n${text}`);
}

const KEYS: Readonly<Record<string, readonly [code: number, text?: string]>> = {
  Tab: [9],
  Enter: [13, "\r"],
  ArrowLeft: [37],
  ArrowRight: [39],
  End: [35],
  Home: [36],
};

async function open(socket: WebSocket, url: string): Promise<Tab> {
  const waiting = new Map<number, (message: Message) => void>();
  const complaints: string[] = [];
  const requests: string[] = [];
  let id = 0;
  const at: { session?: string } = {};
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(String(data)) as Message;
    if (message.id !== undefined) waiting.get(message.id)?.(message);
    const params = message.params as {
      readonly request?: { readonly url: string };
      readonly exceptionDetails?: {
        readonly text: string;
        readonly exception?: { readonly description?: string };
      };
      readonly entry?: { readonly text: string; readonly url?: string };
      readonly type?: string;
      readonly args?: readonly { readonly value?: unknown }[];
    };
    switch (message.method) {
      case "Network.requestWillBeSent":
        requests.push(params.request?.url ?? "");
        break;
      case "Runtime.exceptionThrown":
        complaints.push(
          params.exceptionDetails?.exception?.description ?? params.exceptionDetails?.text ?? "",
        );
        break;
      case "Log.entryAdded":
        complaints.push(`${params.entry?.text} ${params.entry?.url ?? ""}`);
        break;
      case "Runtime.consoleAPICalled":
        complaints.push(
          `${params.type}: ${(params.args ?? []).map(({ value }) => String(value)).join(" ")}`,
        );
    }
  };
  async function call(
    method: string,
    params: object = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    const own = ++id;
    const answered = new Promise<Message>((resolve) => waiting.set(own, resolve));
    socket.send(
      JSON.stringify({
        id: own,
        method,
        params,
        ...(at.session === undefined ? {} : { sessionId: at.session }),
      }),
    );
    const { result, error } = await answered;
    waiting.delete(own);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  at.session = String(sessionId);
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await call(`${domain}.enable`);
  await call("Page.navigate", { url });
  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    }) as {
      result?: { value?: T };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    };
    if (exceptionDetails !== undefined) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result?.value as T;
  };
  return {
    complaints,
    requests,
    evaluate,
    async until(expression) {
      for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
        // While the page is loaded there may be nothing to ask.
        if (await evaluate<boolean>(expression).catch(() => false)) return;
        await Bun.sleep(50);
      }
      const seen = await evaluate<string>("document.body?.innerText ?? ''").catch(String);
      throw new Error(
        `Never true: ${expression}\n${seen.slice(0, 2000)}\n${complaints.join("\n")}`,
      );
    },
    async press(key) {
      const [code, text] = KEYS[key] ?? [key.toUpperCase().charCodeAt(0), key];
      const common = { key, windowsVirtualKeyCode: code, ...(text === undefined ? {} : { text }) };
      await call("Input.dispatchKeyEvent", {
        type: text === undefined ? "rawKeyDown" : "keyDown",
        ...common,
      });
      await call("Input.dispatchKeyEvent", { type: "keyUp", ...common });
    },
    async dark(on) {
      const features = [{ name: "prefers-color-scheme", value: on ? "dark" : "light" }];
      await call("Emulation.setEmulatedMedia", { features });
    },
    async screenshot(height) {
      const clip = { x: 0, y: 0, width: WIDTH, height: height ?? 0, scale: 0.75 };
      const { data } = await call("Page.captureScreenshot", {
        format: "png",
        ...(height === undefined ? {} : { clip }),
      });
      return Buffer.from(String(data), "base64");
    },
  };
}
