/** What the host's own tools take for the state that the agent has made, in an untouched network namespace. */

import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../agent/lab.ts";
import type { Backend } from "./agent.ts";
import { setDatagrams } from "./set-messages.ts";

export interface Tools {
  /** Milliseconds for the sets alone, and for all: of iptables `ipset restore` and both restores, of nftables `nft -f`. */
  readonly sets: number;
  readonly whole: number;
  /** Milliseconds in which a C program sends the agent's messages for the sets: Linux's own share. iptables only. */
  readonly twin?: number;
}

export interface State {
  readonly lines: { readonly members: number; readonly rules: number };
  /** Writes it anew, in a fresh namespace. */
  byTools(): Tools;
}

/** What the agent has made. */
export function stateOf(backend: Backend): State {
  return backend === "iptables" ? iptablesState() : nftablesState();
}

function matching(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length;
}

let namespaces = 0;

/** Runs commands in a namespace of their own; gives what times each. */
function inFresh<R>(use: (timed: (command: readonly string[], text?: string) => number) => R): R {
  const name = `bench-firewall-${process.pid}-${namespaces++}`;
  run(["ip", "netns", "add", name]);
  try {
    return use((command, text) => {
      const start = performance.now();
      run(["ip", "netns", "exec", name, ...command], text);
      return performance.now() - start;
    });
  } finally {
    run(["ip", "netns", "del", name]);
  }
}

function iptablesState(): State {
  // The variant that the agent has used.
  const variant = ["-nft", "-legacy", ""].find((each) =>
    Bun.which(`iptables${each}-save`) !== null &&
    run([`iptables${each}-save`]).includes("KUBE-POD-FW-")
  );
  if (variant === undefined) throw new Error("no variant of iptables holds the agent's rules");
  const sets = run(["ipset", "save"]);
  const v4 = run([`iptables${variant}-save`]);
  const v6 = run([`ip6tables${variant}-save`]);
  return {
    lines: {
      members: matching(sets, /^add /gm),
      rules: matching(v4, /^-A /gm) + matching(v6, /^-A /gm),
    },
    byTools() {
      const both = inFresh((timed) => {
        const alone = timed(["ipset", "restore"], sets);
        const rules = timed([`iptables${variant}-restore`], v4) +
          timed([`ip6tables${variant}-restore`], v6);
        return { sets: alone, whole: alone + rules };
      });
      return { ...both, twin: byTwin(sets) };
    },
  };
}

function byTwin(sets: string): number {
  const messages = join(tmpdir(), `bench-firewall-${process.pid}`);
  const twin = `${messages}.twin`;
  try {
    run(["cc", "-O2", "-o", twin, join(import.meta.dir, "twin.c")]);
    writeFileSync(messages, setDatagrams(sets));
    const name = `bench-firewall-${process.pid}-${namespaces++}`;
    run(["ip", "netns", "add", name]);
    try {
      return Number(run(["ip", "netns", "exec", name, twin, messages]));
    } finally {
      run(["ip", "netns", "del", name]);
    }
  } finally {
    rmSync(messages, { force: true });
    rmSync(twin, { force: true });
  }
}

function nftablesState(): State {
  const whole = run(["nft", "list", "ruleset"]);
  if (!whole.includes("KUBE-POD-FW-")) throw new Error("nf_tables hold none of the agent's rules");
  const sets = run(["nft", "list", "sets"]);
  return {
    lines: {
      members: [...whole.matchAll(/^\t\telements = \{([^}]*)\}/gm)]
        .reduce((sum, [, elements = ""]) => sum + elements.split(",").length, 0),
      rules: matching(whole, /^\t\t(?!type |flags |comment |elements |\t)/gm),
    },
    byTools: () => ({
      sets: inFresh((timed) => timed(["nft", "-f", "-"], sets)),
      whole: inFresh((timed) => timed(["nft", "-f", "-"], whole)),
    }),
  };
}
