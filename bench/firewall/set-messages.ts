/** The netlink messages by which the agent makes sets, from the text of `ipset save`; for `twin.c`. */

import {
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_EXCL,
} from "../../src/kernel/dataplane/linux/message.ts";
import {
  IPSET_CMD_ADD,
  writeCreate,
  writeMembers,
} from "../../src/kernel/dataplane/linux/ipset-codec.ts";
import type { IpSet, IpSetMember } from "../../src/kernel/dataplane/resources/ipset.ts";

/** As in the agent. */
const MEMBERS = 750;
/** Revisions that every Linux of today has. */
const REVISION = 4;

/** Datagrams, each with its length in 4 bytes before it. */
export function setDatagrams(save: string): Uint8Array {
  const sets: IpSet[] = [];
  const members = new Map<string, IpSetMember[]>();
  for (const line of save.split("\n")) {
    const [command, set = "", entry = ""] = line.split(" ");
    if (command === "create") {
      const option = (name: string) => Number(new RegExp(` ${name} (\\d+)`).exec(line)?.[1]);
      sets.push({
        name: set,
        type: entry as IpSet["type"],
        family: line.includes(" inet6 ") ? 6 : 4,
        maxElements: option("maxelem"),
        buckets: option("hashsize"),
      });
    } else if (command === "add") {
      const all = members.get(set);
      if (all === undefined) members.set(set, [{ set, entry }]);
      else all.push({ set, entry });
    }
  }
  return datagrams([
    ...sets.map((set) => (w: MessageWriter) =>
      writeCreate(w, set, REVISION, NLM_F_CREATE | NLM_F_EXCL)
    ),
    ...[...members].flatMap(([set, all]) =>
      Array.from(
        { length: Math.ceil(all.length / MEMBERS) },
        (_, i) => (w: MessageWriter) =>
          writeMembers(w, IPSET_CMD_ADD, set, all.slice(i * MEMBERS, (i + 1) * MEMBERS)),
      )
    ),
  ]);
}

function datagrams(messages: readonly ((w: MessageWriter) => void)[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const w = new MessageWriter();
  let last = 0;
  const flush = () => {
    if (w.position === 0) return;
    w.addFlags(last, NLM_F_ACK);
    parts.push(new Uint8Array(new Uint32Array([w.position]).buffer), w.bytes.slice(0, w.position));
    w.reset();
  };
  for (const [i, write] of messages.entries()) {
    let start = w.position;
    w.sequence = i + 1;
    write(w);
    if (w.overflow) {
      w.overflow = false;
      w.position = start;
      flush();
      start = 0;
      write(w);
    }
    last = start;
  }
  flush();
  return Buffer.concat(parts);
}
