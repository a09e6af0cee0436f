/** The machine room's end of the hands (hands.py): requests over a unix socket, answers by id. */

import type { Step } from "../topology/layout.ts";

export interface ServedPort {
  readonly port: number;
  readonly protocol: string;
}

export interface HttpAnswer {
  /** 0: nothing answered, and `body` says why. */
  readonly status: number;
  readonly body: string;
}

export interface Hands {
  /** Runs the steps in order; rejects with the first that failed. */
  readonly build: (steps: readonly Step[]) => Promise<void>;
  /** Opens a pod's servers; resolves with those that could not be opened. */
  readonly serve: (
    pod: string,
    namespace: string,
    ports: readonly ServedPort[],
  ) => Promise<readonly string[]>;
  readonly unserve: (pod: string) => Promise<void>;
  readonly relay: (namespace: string, address: string, port: number, to: number) => Promise<void>;
  readonly unrelay: (namespace: string, address: string, port: number) => Promise<void>;
  readonly probe: (
    probes: readonly unknown[],
    each: (result: unknown) => void,
  ) => Promise<void>;
  /** GET of 127.0.0.1 in a namespace. */
  readonly get: (
    namespace: string,
    port: number,
    path: string,
    seconds?: number,
  ) => Promise<HttpAnswer>;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly each?: (item: unknown) => void;
}

interface Answer {
  readonly id: number;
  readonly ok?: unknown;
  readonly error?: string;
  readonly item?: unknown;
}

export async function connectHands(path: string, lost: (reason: string) => void): Promise<Hands> {
  const waiting = new Map<number, Waiting>();
  const decoder = new TextDecoder();
  let rest = "";
  let queue: Uint8Array = new Uint8Array(0);
  let next = 1;

  const socket = await connect(path, {
    data: (_, chunk) => receive(decoder.decode(chunk, { stream: true })),
    drain: () => flush(),
    close: () => lost("the hands ended, see room.log"),
    error: (_, error) => lost(`the hands: ${error.message}`),
  });

  function receive(text: string): void {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const { id, ok, error, item } = JSON.parse(line) as Answer;
      const request = waiting.get(id);
      if (request === undefined) continue;
      if (item !== undefined) {
        request.each?.(item);
        continue;
      }
      waiting.delete(id);
      if (error !== undefined) request.reject(new Error(error));
      else request.resolve(ok);
    }
  }

  function flush(): void {
    while (queue.length > 0) {
      const sent = socket.write(queue);
      if (sent <= 0) return;
      queue = queue.subarray(sent);
    }
  }

  function ask(op: string, fields: object, each?: (item: unknown) => void): Promise<unknown> {
    const id = next++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    waiting.set(id, { resolve, reject, ...(each === undefined ? {} : { each }) });
    const line = new TextEncoder().encode(`${JSON.stringify({ id, op, ...fields })}\n`);
    const joined = new Uint8Array(queue.length + line.length);
    joined.set(queue);
    joined.set(line, queue.length);
    queue = joined;
    flush();
    return promise;
  }

  return {
    build: async (steps) => {
      await ask("build", { steps });
    },
    serve: async (pod, ns, ports) => await ask("serve", { pod, ns, ports }) as readonly string[],
    unserve: async (pod) => {
      await ask("unserve", { pod });
    },
    relay: async (ns, address, port, to) => {
      await ask("relay", { ns, address, port, to });
    },
    unrelay: async (ns, address, port) => {
      await ask("unrelay", { ns, address, port });
    },
    probe: async (probes, each) => {
      await ask("probe", { probes }, each);
    },
    get: async (ns, port, path, seconds = 2) =>
      await ask("get", { ns, port, path, seconds }) as HttpAnswer,
  };
}

/** The hands start at the same time as this process: they may not listen yet. */
async function connect(
  path: string,
  socket: Bun.SocketHandler<undefined>,
): Promise<Bun.Socket<undefined>> {
  for (let left = 500;; left--) {
    try {
      return await Bun.connect<undefined>({ unix: path, socket });
    } catch (error) {
      if (left === 0) throw error;
      await Bun.sleep(10);
    }
  }
}
