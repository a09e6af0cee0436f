/** What a netlink message says, apart from the order of its attributes, its sequence number and its sender. */

import { NLA_F_NESTED } from "../../src/kernel/dataplane/linux/attribute.ts";
import type { AttributeReader } from "../../src/kernel/dataplane/linux/attribute.ts";
import {
  MessageReader,
  MessageWriter,
  NLM_F_ACK,
} from "../../src/kernel/dataplane/linux/message.ts";
import captured from "./tools.json" with { type: "json" };

/** The bytes that a tool sent, by its command; `part` counts the messages of one command. */
export function sent(command: string, part = 0): Uint8Array {
  const found = captured.filter((each) => each.command === command)[part];
  if (found === undefined) throw new Error(`"${command}" is not in the capture`);
  return Uint8Array.fromHex(found.hex);
}

/** The bytes that we write. What an earlier message left in the buffer must not shine through. */
export function written(write: (w: MessageWriter) => void): Uint8Array {
  const w = new MessageWriter(4096);
  w.bytes.fill(0xa5);
  write(w);
  if (w.error !== undefined) throw new Error(w.error);
  return w.bytes.slice(0, w.position);
}

/** A reader that stands on the first message. */
export function reader(bytes: Uint8Array): MessageReader {
  const message = new MessageReader(bytes);
  message.load(bytes.length);
  if (!message.next()) throw new Error(message.error ?? "No message");
  return message;
}

/** Type, flags (without ACK), the struct of `head` bytes, and every attribute by its path: "7.1.2" in hex. */
export function meaning(bytes: Uint8Array, head: number): Record<string, string> {
  const message = reader(bytes);
  const result: Record<string, string> = {
    type: `${message.type}`,
    flags: `0x${(message.flags & ~NLM_F_ACK).toString(16)}`,
    head: bytes.slice(message.start, message.start + head).toHex(),
  };
  collect(message.attributes(head), "", result);
  return result;
}

function collect(a: AttributeReader, path: string, into: Record<string, string>): void {
  while (a.next()) {
    const name = `${path}${a.type}`;
    const nested = (a.view.getUint16(a.start - 2, true) & NLA_F_NESTED) !== 0;
    if (nested) a.nested((inner) => collect(inner, `${name}.`, into));
    else into[name] = a.data().toHex();
  }
  if (a.error !== undefined) throw new Error(a.error);
}

/** `a` without what only it says, and the names of that: known differences are listed by the test. */
export function beyond(a: Record<string, string>, b: Record<string, string>): readonly string[] {
  return Object.keys(a).filter((name) => a[name] !== b[name]).toSorted();
}
