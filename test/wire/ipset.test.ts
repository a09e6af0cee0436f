/**
 * Our ipset messages against those of ipset 7.17, captured by `tools-capture`. We speak version 6 of the protocol (attribute
 * 1), which Linux has taken since 2.6.39, and the tool 7.
 */

import { expect, test } from "bun:test";
import {
  IPSET_CMD_ADD,
  IPSET_CMD_DEL,
  writeCreate,
  writeDestroy,
  writeMembers,
} from "../../src/kernel/dataplane/linux/ipset-codec.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "../../src/kernel/dataplane/linux/message.ts";
import { meaning, sent, written } from "./meaning.ts";

const CREATE = NLM_F_CREATE | NLM_F_EXCL;
const VERSION = "1";
const EXCLUSIVE = `0x${(NLM_F_EXCL | 1).toString(16)}`;

function said(bytes: Uint8Array): Record<string, string> {
  const { [VERSION]: _, ...rest } = meaning(bytes, 4);
  return rest;
}

/** A message for many members holds them one level deeper (ADT, 8) and a line number (9), which only restores need. */
function single(bytes: Uint8Array): Record<string, string> {
  const entries = Object.entries(said(bytes)).filter(([name]) => name !== "9" && name !== "7.9");
  return Object.fromEntries(entries.map(([name, value]) => [name.replace(/^8\./, ""), value]));
}

test("sets are created and destroyed as ipset does", () => {
  const of = (name: string, type: "hash:ip" | "hash:net", more = {}) =>
    written((w) =>
      writeCreate(w, { name, type, family: 4, ...more }, type === "hash:ip" ? 6 : 7, CREATE)
    );
  expect(said(of("kube-router-svip", "hash:ip", { maxElements: 70000 }))).toEqual(
    said(sent("ipset create kube-router-svip hash:ip maxelem 70000")),
  );
  expect(said(of("kube-router-nets", "hash:net"))).toEqual(
    said(sent("ipset create kube-router-nets hash:net")),
  );
  const { flags, ...rest } = said(sent("ipset destroy kube-router-nets"));
  expect(flags).toBe(EXCLUSIVE);
  expect(said(written((w) => writeDestroy(w, "kube-router-nets")))).toEqual({
    ...rest,
    flags: "0x1",
  });
});

test("an IPv6 set names its family twice, in the header too", () => {
  const set = { name: "inet6:kube-router-svip-prt", type: "hash:ip,port", family: 6 } as const;
  const { head: ours, ...rest } = said(written((w) => writeCreate(w, set, 7, CREATE)));
  const command = "ipset create inet6:kube-router-svip-prt hash:ip,port family inet6";
  const { head: theirs, ...wanted } = said(sent(command));
  expect(rest).toEqual(wanted);
  // Linux does not look at the family of the header.
  expect([ours, theirs]).toEqual(["0a000000", "02000000"]);
});

test("members are added and removed as ipset does", () => {
  const of = (
    command: typeof IPSET_CMD_ADD | typeof IPSET_CMD_DEL,
    set: string,
    entry: string,
    nomatch = false,
  ) =>
    single(
      written((w) =>
        writeMembers(w, command, set, [{ set, entry, ...(nomatch ? { nomatch } : {}) }])
      ),
    );
  const theirs = (command: string) => {
    // The tool refuses what is there already (NLM_F_EXCL); we do not mind.
    const { flags, ...rest } = single(sent(command));
    expect(flags).toBe(EXCLUSIVE);
    return { ...rest, flags: "0x1" };
  };
  expect(of(IPSET_CMD_ADD, "kube-router-svip", "10.96.0.1")).toEqual(
    theirs("ipset add kube-router-svip 10.96.0.1"),
  );
  expect(of(IPSET_CMD_ADD, "inet6:kube-router-svip-prt", "fd00::1,sctp:80")).toEqual(
    theirs("ipset add inet6:kube-router-svip-prt fd00::1,sctp:80"),
  );
  expect(of(IPSET_CMD_ADD, "kube-router-nets", "10.96.0.0/16", true)).toEqual(
    theirs("ipset add kube-router-nets 10.96.0.0/16 nomatch"),
  );
  expect(of(IPSET_CMD_DEL, "kube-router-nets", "10.96.0.0/16")).toEqual(
    theirs("ipset del kube-router-nets 10.96.0.0/16"),
  );
});
