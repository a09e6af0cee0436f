/** What the pages print to be typed: it is parsed by the real command line, and what it leads to is there. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { version } from "../../../package.json";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { FLAG_NAMES } from "../../../src/cli/flags.ts";
import { parseFlags } from "../../../src/cli/parse-flags.ts";

const ROOT = join(import.meta.dir, "../../..");
const PAGES = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
].toSorted();

interface Page {
  readonly name: string;
  readonly text: string;
  /** Lines of its blocks of code. */
  readonly blocks: readonly string[];
  /** Its `code` within the text. */
  readonly spans: readonly string[];
  /** Its text without either. */
  readonly prose: string;
}

function read(name: string): Page {
  const text = readFileSync(join(ROOT, name), "utf8");
  const blocks: string[] = [];
  const rest = text.replaceAll(/^```[^\n]*\n(.*?)^```$/gms, (_, body: string) => {
    blocks.push(...body.replaceAll("\\\n", " ").split("\n"));
    return "";
  });
  const spans = [...rest.matchAll(/`([^`]+)`/g)].map(([, code = ""]) =>
    code.replaceAll(/\s+/g, " ").replaceAll("\\|", "|")
  );
  return { name, text, blocks, spans, prose: rest.replaceAll(/`[^`]+`/g, "") };
}

const pages = PAGES.map(read);

/** The executable at the start of a line, behind a prompt, ssh, or a command that runs another. */
const EXECUTABLE =
  /^(?:(?:[\w.-]+)?[#$] |ssh \S+ |ip netns exec \S+ )*(?:\.\/|dist\/)?routelet(?:-[\w-]+)?(?= |$)(.*)$/;

/** The words of a command line that is printed, up to what the shell makes of the rest; undefined: it is none. */
function words(line: string): readonly string[] | undefined {
  const rest = EXECUTABLE.exec(line)?.[1];
  if (rest === undefined) return undefined;
  const command = rest.replace(/\s(?:#|&|\||[<>]|then ).*$/, "");
  return command.split(/\s+/).filter((word) => word !== "");
}

/** What stands for something that the reader gives. */
const isPlaceholder = (word: string) => word.startsWith("[") || word === "…" || word === "--FLAG=…";

/** What is wrong with a command line; undefined: nothing. */
function fault(line: readonly string[]): string | undefined {
  try {
    const { positionals: [command = "run", ...more] } = parseFlags(
      line.filter((word) => !isPlaceholder(word)),
    );
    const known = COMMANDS[command];
    if (known === undefined) return `there is no command "${command}"`;
    return more.length > 0 && known.words === undefined
      ? `command "${command}" takes no words`
      : undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Where what is printed starts like a command: status' and version's first line. */
const isOutput = (line: string) => /^routelet \d/.test(line);

describe("what the pages say", () => {
  const lines = pages.flatMap(({ name, blocks, spans }) =>
    [...blocks, ...spans].filter((line) => !isOutput(line)).flatMap((line) => {
      const found = words(line);
      return found === undefined ? [] : [{ at: `${name}: ${line}`, found }];
    })
  );

  test("command lines of routelet are found in blocks and in the text", () => {
    expect(lines.length).toBeGreaterThan(60);
    expect(words("ip netns exec try dist/routelet-linux-x64 plan --watch &")).toEqual([
      "plan",
      "--watch",
    ]);
    expect(fault(["plan", "--maniffests=x"])).toContain('did you mean "--manifests"');
    expect(fault(["stat"])).toContain('no command "stat"');
  });

  test("every command line of routelet is one that the executable takes", () => {
    expect(
      lines.flatMap(({ at, found }) => {
        const wrong = fault(found);
        return wrong === undefined ? [] : [`${at}: ${wrong}`];
      }),
    ).toEqual([]);
  });

  test("every flag is ours, or another program's that is known", () => {
    const strange = pages.flatMap(({ name, spans }) =>
      spans.flatMap((span) =>
        [...span.matchAll(/(?:^| )--([a-z][\w-]*)(…?)/g)].flatMap(([, flag = "", open = ""]) =>
          (FLAG_NAMES as readonly string[]).includes(flag) || OTHERS.has(flag) ||
            FLAG_NAMES.some((known) =>
              (flag.endsWith("-") || open !== "") && known.startsWith(flag)
            )
            ? []
            : [`${name}: ${span}`]
        )
      )
    );
    expect(strange).toEqual([]);
  });

  test("every target of make is there", () => {
    const makefile = readFileSync(join(ROOT, "Makefile"), "utf8");
    const strange = pages.flatMap(({ name, blocks, spans }) =>
      [...blocks, ...spans].flatMap((line) => {
        const target = /^(?:[#$] )?make ([a-z-]+)\b/.exec(line)?.[1];
        return target === undefined || makefile.includes(`\n${target}:`)
          ? []
          : [`${name}: ${line}`];
      })
    );
    expect(strange).toEqual([]);
  });

  test("versions of the image are this one", () => {
    const named = pages.flatMap(({ name, text }) =>
      [...text.matchAll(/\broutelet[-:](\d+\.\d+\.\d+)/g)].map(([, found]) => `${name}: ${found}`)
    );
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((each) => !each.endsWith(`: ${version}`))).toEqual([]);
  });

  test("every link leads to a file, and to a heading in it", () => {
    const broken = pages.flatMap(({ name, prose }) =>
      [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
        if (/^[a-z]+:/.test(target)) return [];
        const [path = "", heading] = target.split("#");
        const file = path === "" ? name : join(dirname(name), path);
        if (!existsSync(join(ROOT, file))) return [`${name}: ${target}`];
        return heading === undefined || headings(file).has(heading) ? [] : [`${name}: ${target}`];
      })
    );
    expect(broken).toEqual([]);
  });
});

/** Anchors as GitHub makes them of headings, and those that are set by hand. */
function headings(file: string): ReadonlySet<string> {
  const text = readFileSync(join(ROOT, file), "utf8").replaceAll(/^```.*?^```$/gms, "");
  return new Set([
    ...[...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading.toLowerCase().replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-")
    ),
    ...[...text.matchAll(/<a id="([^"]+)">/g)].map(([, id = ""]) => id),
  ]);
}

/** Flags of other programs that the pages name. */
const OTHERS: ReadonlySet<string> = new Set([
  // kube-controller-manager, kube-proxy, ipvsadm
  "allocate-node-cidrs",
  "cleanup",
  "stats",
  // iptables and its matches and targets
  "noflush",
  "dport",
  "ctstate",
  "ctorigdst",
  "tcp-flags",
  "set-xmark",
  "set-mss",
  "vaddr",
  "vport",
  "vdir",
  "to-source",
  // how a flag is written
  "x",
]);
