/** CNI configurations on disk. The ledger says what of them is ours, and what MTU was there before. */

import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { KernelError } from "../errors.ts";
import type { Actual, Op, Outcome, Table } from "../resource.ts";
import { type CniConf, cniConf as resource } from "../resources/cni.ts";
import { changeCni, readCni } from "./cni-text.ts";
import type { Ledger } from "./ledger.ts";

/** What the ledger keeps of a file, as JSON. */
interface Mark {
  readonly added: readonly string[];
  /** The list of ranges itself is ours. */
  readonly ranges?: true;
  /** The MTU of before, `null` where it had none; absent: we did not set one. */
  readonly mtu?: number | null;
}

/** @param openLedger opens the owner's ledger; called at the first use */
export function cniConfTable(openLedger: () => Ledger): Table<CniConf> {
  let opened: Ledger | undefined;
  const ledger = (): Ledger => opened ??= openLedger();

  function list(): readonly Actual<CniConf>[] {
    return [...ledger().keys()].flatMap((path): readonly Actual<CniConf>[] => {
      const file = fileOf(path);
      if (file === undefined) return [];
      try {
        const { subnets, mtu } = readCni(readFileSync(file, "utf8"));
        const added = parseMark(ledger().get(path)).added.filter((cidr) => subnets.includes(cidr));
        const item = { path, podCidrs: subnets, added, ...(mtu === undefined ? {} : { mtu }) };
        return [{ item, owned: true }];
      } catch {
        // What is wrong is said when it is to be changed; until then nothing is known of it.
        return [{ item: { path, podCidrs: [], added: [] }, owned: true }];
      }
    });
  }

  function remember(path: string, mark: Mark): void {
    const text = JSON.stringify(mark);
    if (ledger().get(path) === text) return;
    if (ledger().has(path)) ledger().remove([path]);
    ledger().add([[path, text]]);
  }

  function set({ path, podCidrs, mtu }: CniConf): void {
    const file = fileOf(path);
    if (file === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
    const text = readFileSync(file, "utf8");
    const facts = readCni(text);
    const before = parseMark(ledger().get(path));
    const add = podCidrs.filter((cidr) => !facts.subnets.includes(cidr));
    const kept = before.added.filter((cidr) =>
      podCidrs.includes(cidr) && facts.subnets.includes(cidr)
    );
    const was: Pick<Mark, "mtu" | "ranges"> = {
      ...(before.ranges === true || (!facts.ranges && add.length > 0) ? { ranges: true } : {}),
      ...(mtu === undefined
        ? {}
        : { mtu: before.mtu === undefined ? facts.mtu ?? null : before.mtu }),
    };
    // First the mark: what is in the file without one would stay there for ever.
    remember(path, { added: [...new Set([...before.added, ...add])], ...was });
    const remove = before.added.filter((cidr) => !podCidrs.includes(cidr));
    write(file, text, changeCni(text, { add, remove, ...(mtu === undefined ? {} : { mtu }) }));
    remember(path, { added: [...kept, ...add], ...was });
  }

  function release({ path }: CniConf): void {
    const file = fileOf(path);
    const mark = parseMark(ledger().get(path));
    if (file !== undefined) {
      const text = readFileSync(file, "utf8");
      const { added, ranges, mtu } = mark;
      const change = {
        add: [],
        remove: added,
        noRanges: ranges === true,
        ...(mtu === undefined ? {} : { mtu }),
      };
      write(file, text, changeCni(text, change));
    }
    ledger().remove([path]);
  }

  function carryOut(op: Op<CniConf>): Outcome<CniConf> {
    try {
      if (op.verb === "delete") release(op.item);
      else set(op.item);
      return { op };
    } catch (error) {
      return { op, error: wrapped(op, error) };
    }
  }

  return {
    resource,
    list: () => Promise.resolve(list()),
    apply: (ops) => Promise.resolve(ops.map(carryOut)),
    refuse: ({ path }) => path.startsWith("/") ? undefined : `"${path}" is no absolute path`,
  };
}

/** The file of a path: itself, or the list beside it. */
function fileOf(path: string): string | undefined {
  return [path, `${path}list`].find((each) => existsSync(each));
}

/** Whole or not at all; in place where the file itself is mounted, so that it cannot be replaced. */
function write(file: string, before: string, text: string): void {
  if (text === before) return;
  const { mode } = statSync(file);
  // CNI plugins read all files of the folder that end in .conf, .conflist or .json.
  const beside = `${file}.routelet-new`;
  try {
    // On the disk before it has the name: after a power cut a file without text would leave the node without pods.
    writeFileSync(beside, text, { mode, flush: true });
    renameSync(beside, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EBUSY" && code !== "EXDEV") throw error;
    writeFileSync(file, text, { flush: true });
  }
}

function parseMark(text: string | undefined): Mark {
  try {
    const mark: unknown = JSON.parse(text ?? "null");
    const added = (mark as Partial<Mark> | null)?.added;
    return Array.isArray(added) ? mark as Mark : { added: [] };
  } catch {
    return { added: [] };
  }
}

function wrapped(op: Op<CniConf>, error: unknown): KernelError {
  if (error instanceof KernelError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const name = typeof code === "string" ? code : "EINVAL";
  return new KernelError(`${op.verb} CNI configuration`, name, {
    object: op.item.path,
    ...(typeof code === "string" ? {} : { detail: String(message) }),
    remedy: name === "ENOENT"
      ? 'run "routelet install cni", name another configuration with a bridge plugin by KUBE_ROUTER_CNI_CONF_FILE, or ' +
        "set --enable-cni=false"
      : "repair the file, or set --enable-cni=false",
  });
}
