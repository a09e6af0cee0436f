/** The unix socket that the LAB command (the Perl file `lab`) talks to. */

/** Where a command's output goes. */
export interface Console {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** Does a command and returns its exit status. */
export type Command = (words: readonly string[], console: Console) => Promise<number>;

interface Connection {
  input: Uint8Array;
  output: Uint8Array;
  ending: boolean;
}

/**
 * A request is its number of words, then each word's length and bytes; the answer is `o LENGTH` and
 * `e LENGTH` frames, and `x STATUS` at the end.
 */
export function serveControl(path: string, command: Command): void {
  Bun.listen<Connection>({
    unix: path,
    socket: {
      open: (socket) => {
        socket.data = { input: new Uint8Array(0), output: new Uint8Array(0), ending: false };
      },
      data: (socket, chunk) => {
        socket.data.input = concat(socket.data.input, chunk);
        const words = decode(socket.data.input);
        if (words === undefined) return;
        socket.data.input = new Uint8Array(0);
        void run(socket, words);
      },
      drain: flush,
    },
  });

  async function run(socket: Bun.Socket<Connection>, words: readonly string[]): Promise<void> {
    let status = 1;
    const say = (kind: string, text: string) => {
      const bytes = new TextEncoder().encode(text);
      if (bytes.length > 0) send(socket, concat(ascii(`${kind} ${bytes.length}\n`), bytes));
    };
    try {
      status = await command(words, {
        out: (text) => say("o", text),
        err: (text) => say("e", text),
      });
    } catch (error) {
      say("e", `lab: ${(error as Error).message}\n`);
    }
    send(socket, ascii(`x ${status}\n`));
    socket.data.ending = true;
    flush(socket);
  }
}

function send(socket: Bun.Socket<Connection>, bytes: Uint8Array): void {
  socket.data.output = concat(socket.data.output, bytes);
  flush(socket);
}

function flush(socket: Bun.Socket<Connection>): void {
  const { data } = socket;
  while (data.output.length > 0) {
    const sent = socket.write(data.output);
    if (sent <= 0) break;
    data.output = data.output.subarray(sent);
  }
  if (data.ending && data.output.length === 0) socket.end();
}

/** The words, or undefined while they are not all there. */
export function decode(input: Uint8Array): readonly string[] | undefined {
  const decoder = new TextDecoder();
  let at = 0;
  const number = (): number | undefined => {
    const end = input.indexOf(10, at);
    if (end < 0) return undefined;
    const value = Number(decoder.decode(input.subarray(at, end)));
    at = end + 1;
    return value;
  };
  const count = number();
  if (count === undefined) return undefined;
  const words: string[] = [];
  while (words.length < count) {
    const length = number();
    if (length === undefined || at + length > input.length) return undefined;
    words.push(decoder.decode(input.subarray(at, at + length)));
    at += length;
  }
  return words;
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b.slice();
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
