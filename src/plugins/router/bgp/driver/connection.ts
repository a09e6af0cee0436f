/** One TCP connection: a write queue, and an end that waits for it. */

/** How long what was sent last may take before the connection is cut. */
const LINGER_MS = 2000;

export class Connection {
  readonly id: number;
  #socket: Bun.Socket<undefined> | undefined;
  readonly #queue: Uint8Array[] = [];
  #ending = false;
  #gone = false;

  constructor(id: number, socket?: Bun.Socket<undefined>) {
    this.id = id;
    this.#socket = socket;
  }

  /** Whether bytes wait for the network. */
  get blocked(): boolean {
    return this.#queue.length > 0;
  }

  get closed(): boolean {
    return this.#gone || this.#ending;
  }

  /** The socket, once it is there. One that came too late is cut. */
  attach(socket: Bun.Socket<undefined>): void {
    this.#socket = socket;
    if (this.#gone) socket.terminate();
  }

  send(bytes: Uint8Array): void {
    if (this.closed || this.#socket === undefined) return;
    if (this.#queue.length > 0) {
      this.#queue.push(bytes);
      return;
    }
    const written = this.#write(bytes);
    if (written < bytes.length) this.#queue.push(bytes.subarray(written));
  }

  /** The network takes bytes again. */
  drain(): void {
    for (let bytes = this.#queue[0]; bytes !== undefined; bytes = this.#queue[0]) {
      const written = this.#write(bytes);
      if (written < bytes.length) {
        this.#queue[0] = bytes.subarray(written);
        return;
      }
      this.#queue.shift();
    }
    if (this.#ending) this.#socket?.end();
  }

  /** After what was sent, or at once. */
  close(abort: boolean): void {
    if (abort || this.#socket === undefined) {
      this.#gone = true;
      this.#socket?.terminate();
      return;
    }
    this.#ending = true;
    if (this.#queue.length === 0) this.#socket.end();
    const socket = this.#socket;
    setTimeout(() => socket.terminate(), LINGER_MS).unref();
  }

  #write(bytes: Uint8Array): number {
    // -1: it is closed already, and its close handler says so.
    return Math.max(0, this.#socket?.write(bytes) ?? 0);
  }
}
