/**
 * The socket for changes of nf_tables. A batch is one message to Linux and one transaction: all of it is made, or nothing. So it
 * must be sent as a whole, however long it is, where other families take 64 KiB at a time.
 */

import { KernelError } from "../../errors.ts";
import { errno, errnoName, kernelError, type Refusal } from "../errno.ts";
import { closeFile, lastErrno, libc } from "../ffi.ts";
import { MessageReader, MessageWriter, NLM_F_ACK, NLMSG_ERROR } from "../message.ts";
import { NETLINK_NETFILTER, openSocket, portId, receiveNow } from "../socket.ts";
import { traceDatagram } from "../trace.ts";
import { writeBatchBegin, writeBatchEnd } from "./messages.ts";
import { Unsayable } from "./rules.ts";

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SMALLEST = 64 * 1024;
/** The largest transaction: more is a mistake. */
const LARGEST = 64 * 1024 * 1024;
/** From so many bytes on it costs Linux more to tell of all that is made than to be asked whether others changed something. */
const LOUD = 64 * 1024;
/** A buffer of more than this is let go after its use. */
const KEPT = 1024 * 1024;

/** Does something before and behind a transaction. */
export type Around = (send: () => Refusals) => Refusals;

/**
 * Writes one message, or several that stand or fall together. Called again where the buffer was too small: must be pure.
 *
 * @throws {Unsayable} what cannot be written
 */
export type Write = (w: MessageWriter) => void;

/** What Linux refused of a batch: by the index of the write; -1 is the batch as a whole. Empty: all was made. */
export type Refusals = ReadonlyMap<number, Refusal>;

export class BatchSocket {
  readonly #fd: number;
  readonly portId: number;
  #writer = new MessageWriter(SMALLEST);
  readonly #reader = new MessageReader(new Uint8Array(new ArrayBuffer(64 * 1024)));
  #sequence = 1;
  #sendBuffer = 0;
  #closed = false;

  /** @throws {KernelError} */
  constructor(options: { readonly namespace?: number | string } = {}) {
    this.#fd = openSocket(NETLINK_NETFILTER, { ...options, nonblocking: true });
    this.portId = portId(this.#fd);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFile(this.#fd);
  }

  /**
   * Carries out one transaction.
   *
   * @param generation that the rule set must still have; another one is ERESTART of the whole batch
   * @param around what a large one is sent within
   * @throws {KernelError} where it cannot be sent, or nobody knows what came of it (ENOBUFS, ETIMEDOUT)
   */
  batch(
    op: string,
    messages: readonly Write[],
    generation?: number,
    around?: Around,
  ): Refusals {
    if (messages.length === 0) return new Map();
    const base = this.#sequence;
    this.#sequence = (base + messages.length + 2) >>> 0;
    const early = this.#compose(messages, base, generation);
    if (early !== undefined) return early;
    const large = this.#writer.position >= LOUD;
    const send = (): Refusals => {
      this.#send(op);
      return this.#collect(op, base, messages.length);
    };
    return large && around !== undefined ? around(send) : send();
  }

  /** Writes all into the buffer, which grows where it must; what cannot be encoded is refused before Linux sees it. */
  #compose(
    messages: readonly Write[],
    base: number,
    generation: number | undefined,
  ): Refusals | undefined {
    const grown = (w: MessageWriter, whole: number): MessageWriter => {
      const larger = new MessageWriter(w.bytes.length * 4);
      larger.bytes.set(w.bytes.subarray(0, whole));
      larger.position = whole;
      return larger;
    };
    let w = this.#writer;
    w.reset();
    w.sequence = base;
    writeBatchBegin(w, generation);
    const refusals = new Map<number, Refusal>();
    let last = 0;
    // The last one ends the batch.
    for (let i = 0; i <= messages.length; i++) {
      const start = w.position;
      // All messages of one write have its number, so that a refusal says whose it is.
      w.sequence = (base + 1 + i) >>> 0;
      const text = i === messages.length ? ended(w) : failure(w, messages[i] as Write);
      if (text !== undefined) {
        refusals.set(i, { errno: errno.EINVAL, text });
        w.reset();
        w.position = start;
      } else if (w.overflow) {
        if (w.bytes.length * 4 > LARGEST) {
          return new Map([[-1, { errno: errno.EMSGSIZE, text: `more than ${LARGEST} bytes` }]]);
        }
        // What is written already stays: a first round writes megabytes.
        w = this.#writer = grown(w, start);
        i--;
      } else if (i < messages.length) last = w.messageStart;
    }
    w.addFlags(last, NLM_F_ACK);
    return refusals.size === 0 ? undefined : refusals;
  }

  #send(op: string): void {
    const { bytes, position } = this.#writer;
    this.#makeRoom(position);
    traceDatagram("send", this.#fd, bytes, position);
    try {
      while (libc().send(this.#fd, bytes, position, 0) < 0) {
        const code = lastErrno();
        if (code !== errno.EINTR) throw kernelError(op, { errno: code, text: "netlink send" });
      }
    } finally {
      if (bytes.length > KEPT) this.#writer = new MessageWriter(SMALLEST);
    }
  }

  #makeRoom(bytes: number): void {
    if (bytes + 4096 <= this.#sendBuffer) return;
    this.#sendBuffer = 2 * bytes + 64 * 1024;
    const data = new Uint8Array(4);
    new DataView(data.buffer).setInt32(0, this.#sendBuffer, true);
    // FORCE passes net.core.wmem_max, as SO_RCVBUFFORCE does in openSocket.
    if (libc().setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, data, 4) !== 0) {
      libc().setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUF, data, 4);
    }
  }

  /** All answers are queued when the send returns. */
  #collect(op: string, base: number, count: number): Refusals {
    const refusals = new Map<number, Refusal>();
    const message = this.#reader;
    let acked = false;
    for (;;) {
      const length = receiveNow(this.#fd, message.bytes);
      if (length === 0) break;
      if (length < 0) {
        throw new KernelError(op, errnoName(-length), { detail: "netlink answers were lost" });
      }
      traceDatagram("receive", this.#fd, message.bytes, length);
      message.load(length);
      while (message.next()) {
        if (message.type !== NLMSG_ERROR) continue;
        const index = ((message.sequence - base) >>> 0) - 1;
        if (index > count) continue;
        const refusal = message.refusal();
        if (refusal === undefined) acked = true;
        else refusals.set(index >= 0 && index < count ? index : -1, refusal);
      }
      if (message.error !== undefined) {
        throw new KernelError(op, "EBADMSG", { detail: message.error });
      }
    }
    if (!acked && refusals.size === 0) {
      throw new KernelError(op, "ETIMEDOUT", { detail: "Linux gave no answer" });
    }
    return refusals;
  }
}

function ended(w: MessageWriter): string | undefined {
  writeBatchEnd(w);
  return w.error;
}

/** Why something cannot be written. */
function failure(w: MessageWriter, write: Write): string | undefined {
  try {
    write(w);
  } catch (error) {
    if (!(error instanceof Unsayable)) throw error;
    return error.message;
  }
  return w.error;
}
