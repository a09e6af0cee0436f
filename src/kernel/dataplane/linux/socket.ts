/**
 * A netlink socket for requests: synchronous, because Linux answers within the send. Events have their own
 * (events.ts), so that no answer is mixed with them.
 */

import { KernelError } from "../errors.ts";
import { errno, errnoName, kernelError, type Refusal } from "./errno.ts";
import { closeFile, lastErrno, libc, throwErrno } from "./ffi.ts";
import {
  BATCH_BYTES,
  MessageReader,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
} from "./message.ts";
import { inNetworkNamespace } from "./netns.ts";
import { traceDatagram } from "./trace.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_DROP_MEMBERSHIP = 2;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

export interface SocketOptions {
  /** Multicast groups (numbers, not bits) to join; for event sockets. */
  readonly groups?: readonly number[];
  /** Network namespace to open the socket in: a descriptor or a path. It stays there. */
  readonly namespace?: number | string;
  /** Bytes of SO_RCVBUF. Each queued error takes about 0.8 KiB of it, and an overflow loses acks. Default 16 MiB. */
  readonly receiveBuffer?: number;
  /** Milliseconds that a receive waits for Linux (SO_RCVTIMEO). Default 10,000. */
  readonly timeout?: number;
  /** NETLINK_GET_STRICT_CHK: dump requests are filtered by Linux and checked strictly (rtnetlink). */
  readonly strict?: boolean;
  readonly nonblocking?: boolean;
  /** How often a list is read that changes meanwhile, before that is an error. Default 30. */
  readonly dumpTries?: number;
}

/**
 * Opens and binds a netlink socket; the caller closes the descriptor.
 *
 * @throws {KernelError} EPROTONOSUPPORT when Linux lacks the protocol, EPERM without CAP_NET_ADMIN for some groups
 */
export function openSocket(protocol: number, options: SocketOptions = {}): number {
  const namespace = options.namespace;
  return namespace === undefined
    ? openHere(protocol, options)
    : inNetworkNamespace(namespace, () => openHere(protocol, options));
}

function openHere(protocol: number, options: SocketOptions): number {
  const c = libc();
  const flags = SOCK_RAW | SOCK_CLOEXEC | (options.nonblocking === true ? SOCK_NONBLOCK : 0);
  const fd = c.socket(AF_NETLINK, flags, protocol);
  if (fd < 0) throwErrno("open netlink socket", `protocol ${protocol}`);
  try {
    const receive = options.receiveBuffer ?? 16 * 1024 * 1024;
    // FORCE passes net.core.rmem_max but needs CAP_NET_ADMIN in the first user namespace.
    if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, receive)) set(fd, SOL_SOCKET, SO_RCVBUF, receive);
    const send = 8 * BATCH_BYTES;
    if (!set(fd, SOL_SOCKET, SO_SNDBUFFORCE, send)) set(fd, SOL_SOCKET, SO_SNDBUF, send);
    // Old kernels lack some of these; all of them only make answers better.
    set(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    set(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    if (options.strict === true) set(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    setReceiveTimeout(fd, options.timeout ?? 10_000);
    const address = new Uint8Array(12);
    address[0] = AF_NETLINK;
    if (c.bind(fd, address, 12) < 0) throwErrno("bind netlink socket", `protocol ${protocol}`);
    for (const group of options.groups ?? []) {
      if (!set(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)) {
        throwErrno("join netlink group", `${group}`);
      }
    }
    return fd;
  } catch (error) {
    closeFile(fd);
    throw error;
  }
}

/** Joins a multicast group, or leaves it. @returns whether Linux did so */
export function setMembership(fd: number, group: number, member: boolean): boolean {
  return set(
    fd,
    SOL_NETLINK,
    member ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP,
    group,
  );
}

function set(fd: number, level: number, option: number, value: number): boolean {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setInt32(0, value, true);
  return libc().setsockopt(fd, level, option, data, 4) === 0;
}

function setReceiveTimeout(fd: number, milliseconds: number): void {
  const timeval = new DataView(new ArrayBuffer(16));
  timeval.setBigInt64(0, BigInt(Math.floor(milliseconds / 1000)), true);
  timeval.setBigInt64(8, BigInt(Math.floor(milliseconds % 1000) * 1000), true);
  libc().setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, new Uint8Array(timeval.buffer), 16);
}

/** The port id that Linux gave a socket: messages that it caused carry it. */
export function portId(fd: number): number {
  const address = new Uint8Array(12);
  const length = new Uint8Array([12, 0, 0, 0]);
  if (libc().getsockname(fd, address, length) < 0) throwErrno("read the netlink port id");
  return new DataView(address.buffer).getUint32(4, true);
}

/**
 * Receives one datagram without waiting.
 *
 * @returns its length, 0 when nothing is queued, or minus the error number (ENOBUFS: datagrams were lost)
 */
export function receiveNow(fd: number, buffer: Uint8Array): number {
  const length = libc().recv(fd, buffer, buffer.length, MSG_DONTWAIT);
  if (length >= 0) return length;
  const code = lastErrno();
  return code === errno.EAGAIN ? 0 : code === errno.EINTR ? receiveNow(fd, buffer) : -code;
}

/** How often an interrupted dump is tried, and the pause between tries at most. */
const DUMP_TRIES = 30;
const DUMP_PAUSE_MS = 100;

export class NetlinkSocket {
  readonly fd: number;
  readonly #portId: number;
  readonly #dumpTries: number;
  #sequence = 1;
  #closed = false;
  readonly #writer = new MessageWriter(BATCH_BYTES);
  readonly #reader = new MessageReader(new Uint8Array(new ArrayBuffer(BATCH_BYTES)));

  /** @throws {KernelError} see {@linkcode openSocket} */
  constructor(protocol: number, options: SocketOptions = {}) {
    this.fd = openSocket(protocol, options);
    this.#dumpTries = options.dumpTries ?? DUMP_TRIES;
    this.#portId = portId(this.fd);
  }

  get portId(): number {
    return this.#portId;
  }

  /** Closes the descriptor. Twice is fine. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFile(this.fd);
  }

  /**
   * Sends one message and waits for its ack. `write` begins and ends the message; `read` gets each answer before
   * the ack, valid only within the call.
   *
   * @param op what it is for, as an error names it: "create link"
   * @throws {KernelError} what Linux refused, ETIMEDOUT, or ENOBUFS when the answer was lost
   */
  request(
    op: string,
    write: (writer: MessageWriter) => void,
    read?: (message: MessageReader) => void,
    object?: string,
  ): void {
    const sequence = this.#compose(op, write, NLM_F_ACK);
    this.#send(op);
    for (;;) {
      this.#receive(op);
      const message = this.#reader;
      while (message.next()) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          const refusal = message.refusal();
          if (refusal === undefined) return;
          throw kernelError(op, refusal, object === undefined ? {} : { object });
        }
        if (message.type !== NLMSG_NOOP) read?.(message);
      }
      this.#check(op);
    }
  }

  /**
   * Reads a list: sends one message with NLM_F_DUMP and decodes each answer; what decodes to undefined is left out.
   * A list that changed while Linux wrote it (NLM_F_DUMP_INTR) is read again, up to 30 times.
   *
   * @throws {KernelError} EINTR when the list never stood still, EBADMSG for malformed answers
   */
  async dump<T>(
    op: string,
    write: (writer: MessageWriter) => void,
    decode: (message: MessageReader) => T | undefined,
  ): Promise<readonly T[]> {
    for (let attempt = 1; attempt <= this.#dumpTries; attempt++) {
      const items = this.dumpOnce(op, write, decode);
      if (items !== undefined) return items;
      await Bun.sleep(Math.min(attempt, DUMP_PAUSE_MS));
    }
    throw new KernelError(op, "EINTR", {
      detail: `the list changed during each of ${this.#dumpTries} reads`,
      remedy: "it is read again in the next round",
    });
  }

  /** One try of {@linkcode dump}, without a turn of the event loop; undefined when the dump was interrupted. */
  dumpOnce<T>(
    op: string,
    write: (writer: MessageWriter) => void,
    decode: (message: MessageReader) => T | undefined,
  ): T[] | undefined {
    const sequence = this.#compose(op, write, NLM_F_DUMP);
    this.#send(op);
    try {
      return this.#readDump(op, sequence, decode);
    } catch (error) {
      // An abandoned dump would hold the socket (EBUSY for the next one): receiving runs it to its end.
      while (receiveNow(this.fd, this.#reader.bytes) > 0);
      throw error;
    }
  }

  #readDump<T>(
    op: string,
    sequence: number,
    decode: (message: MessageReader) => T | undefined,
  ): T[] | undefined {
    const items: T[] = [];
    let interrupted = false;
    for (;;) {
      this.#receive(op);
      const message = this.#reader;
      while (message.next()) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          const refusal = message.refusal();
          if (refusal !== undefined && refusal.errno !== errno.EINTR) {
            throw kernelError(op, refusal);
          }
          this.#check(op);
          return interrupted || refusal !== undefined ? undefined : items;
        }
        if (message.type === NLMSG_NOOP) continue;
        const multi = (message.flags & NLM_F_MULTI) !== 0;
        const item = decode(message);
        if (item !== undefined) items.push(item);
        // A family that answers a dump with one plain message sends no DONE.
        if (!multi) return items;
      }
      this.#check(op);
    }
  }

  /**
   * Reads a list as {@linkcode dumpOnce}, and hands over each datagram's items as they come, so that the event loop may turn in
   * between: a long list is no pause. Nothing else may be asked of this socket meanwhile.
   *
   * @param take false ends it
   * @returns whether it was read to its end, and stood still
   * @throws {KernelError}
   */
  async dumpInParts<T>(
    op: string,
    write: (writer: MessageWriter) => void,
    decode: (message: MessageReader) => T | undefined,
    take: (items: readonly T[]) => Promise<boolean>,
  ): Promise<boolean> {
    const sequence = this.#compose(op, write, NLM_F_DUMP);
    this.#send(op);
    let ended = false;
    let interrupted = false;
    try {
      while (!ended) {
        this.#receive(op);
        const message = this.#reader;
        const items: T[] = [];
        while (message.next()) {
          if (message.sequence !== sequence) continue;
          if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
          if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
            ended = true;
            const refusal = message.refusal();
            if (refusal?.errno === errno.EINTR) interrupted = true;
            else if (refusal !== undefined) throw kernelError(op, refusal);
          } else if (message.type !== NLMSG_NOOP) {
            const item = decode(message);
            if (item !== undefined) items.push(item);
          }
        }
        this.#check(op);
        if (!await take(items) || this.#closed) return false;
      }
      return !interrupted;
    } finally {
      // As in dumpOnce.
      if (!ended && !this.#closed) { while (receiveNow(this.fd, this.#reader.bytes) > 0); }
    }
  }

  /**
   * Sends many messages in 64 KiB batches; only the last of a batch asks for an ack, and refusals are matched by
   * sequence number. `write(writer, index)` writes exactly one message; it is called again for the same index
   * where a batch was full, so it must be a pure function of the index.
   *
   * @returns refusals by index; no entry means success. ENOBUFS and ETIMEDOUT mean that the outcome is unknown
   */
  pipeline(
    op: string,
    count: number,
    write: (writer: MessageWriter, index: number) => void,
  ): Map<number, Refusal> {
    const refusals = new Map<number, Refusal>();
    const writer = this.#writer;
    let index = 0;
    while (index < count) {
      writer.reset();
      const first = index;
      const base = this.#sequence;
      let last = -1;
      let lastIndex = -1;
      for (; index < count; index++) {
        const start = writer.position;
        writer.sequence = (base + index - first) >>> 0;
        write(writer, index);
        if (writer.error !== undefined) {
          refusals.set(index, { errno: errno.EINVAL, text: writer.error });
          writer.error = undefined;
          writer.position = start;
          writer.overflow = false;
          continue;
        }
        if (writer.overflow) {
          writer.overflow = false;
          writer.position = start;
          if (start > 0) break;
          refusals.set(index, {
            errno: errno.EMSGSIZE,
            text: `the message is larger than ${BATCH_BYTES} bytes`,
          });
          continue;
        }
        last = start;
        lastIndex = index;
      }
      this.#sequence = (base + index - first) >>> 0;
      if (last < 0) continue;
      writer.addFlags(last, NLM_F_ACK);
      this.#send(op);
      const lost = this.#collect(op, base, first, lastIndex, refusals);
      if (lost === undefined) continue;
      const until = lost.errno === errno.ENOBUFS ? lastIndex : count - 1;
      for (let i = first; i <= until; i++) if (!refusals.has(i)) refusals.set(i, lost);
      if (until === count - 1) break;
    }
    return refusals;
  }

  /** Reads answers of one batch until that of its last message; a refusal when answers were lost. */
  #collect(
    op: string,
    base: number,
    first: number,
    last: number,
    refusals: Map<number, Refusal>,
  ): Refusal | undefined {
    const message = this.#reader;
    let lost: Refusal | undefined;
    for (;;) {
      try {
        this.#receive(op, lost !== undefined);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        // After an overflow all that Linux has to say is queued already: take it, then stop.
        if (error.code === "EAGAIN" && lost !== undefined) return lost;
        if (error.code === "ENOBUFS") lost = { errno: errno.ENOBUFS, text: "answers were lost" };
        else if (error.code === "ETIMEDOUT") return { errno: errno.ETIMEDOUT };
        else throw error;
        continue;
      }
      while (message.next()) {
        const index = first + ((message.sequence - base) >>> 0);
        if (index > last || message.type !== NLMSG_ERROR) continue;
        const refusal = message.refusal();
        if (refusal !== undefined) refusals.set(index, refusal);
        if (index === last && lost === undefined) return undefined;
      }
    }
  }

  /** Writes one message; returns its sequence number. */
  #compose(op: string, write: (writer: MessageWriter) => void, flags: number): number {
    const writer = this.#writer;
    writer.reset();
    const sequence = this.#sequence;
    this.#sequence = (sequence + 1) >>> 0;
    writer.sequence = sequence;
    write(writer);
    if (writer.error !== undefined) throw new KernelError(op, "EINVAL", { detail: writer.error });
    if (writer.overflow) {
      throw new KernelError(op, "EMSGSIZE", {
        detail: `the message is larger than ${BATCH_BYTES} bytes`,
      });
    }
    writer.addFlags(0, flags);
    return sequence;
  }

  #send(op: string): void {
    const { bytes, position } = this.#writer;
    traceDatagram("send", this.fd, bytes, position);
    while (libc().send(this.fd, bytes, position, 0) < 0) {
      const code = lastErrno();
      if (code !== errno.EINTR) throw kernelError(op, { errno: code, text: "netlink send" });
    }
  }

  /** Receives one datagram into the reader; throws ENOBUFS, ETIMEDOUT, or EAGAIN when not waiting. */
  #receive(op: string, now = false): void {
    const message = this.#reader;
    const flags = MSG_TRUNC | (now ? MSG_DONTWAIT : 0);
    for (;;) {
      const length = libc().recv(this.fd, message.bytes, message.bytes.length, flags);
      if (length < 0) {
        const code = lastErrno();
        if (code === errno.EINTR) continue;
        if (code === errno.EAGAIN && !now) {
          throw new KernelError(op, "ETIMEDOUT", { detail: "Linux gave no answer" });
        }
        throw new KernelError(op, errnoName(code), {
          detail: code === errno.ENOBUFS ? "netlink answers were lost" : "netlink receive",
        });
      }
      if (length > message.bytes.length) {
        throw new KernelError(op, "EMSGSIZE", { detail: `an answer has ${length} bytes` });
      }
      traceDatagram("receive", this.fd, message.bytes, length);
      message.load(length);
      return;
    }
  }

  /** Malformed answers are an error of the whole request: nobody plans against a guess. */
  #check(op: string): void {
    if (this.#reader.error !== undefined) {
      throw new KernelError(op, "EBADMSG", { detail: this.#reader.error });
    }
    if (this.#reader.type === NLMSG_OVERRUN) {
      throw new KernelError(op, "ENOBUFS", { detail: "netlink answers were lost" });
    }
  }
}
