/**
 * Makes the one `.d.ts` file that authors of plugins compile against: what `src/kernel/third-party.ts` exports and all that it
 * names, from the declarations that tsc writes. `routelet plugin types` prints it; `scripts/build.ts` puts it into the executable.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "..");
const ENTRY = "src/kernel/third-party.ts";

const HEADER = `/**
 * The contract of routelet's plugins. Written by \`routelet plugin types\`: do not edit.
 *
 *     import type { Plugin } from "./plugin.d.ts";
 */
`;

interface Declaration {
  readonly file: string;
  readonly name: string;
  /** With its comment. */
  readonly text: string;
}

/** A file of declarations: its own, and what names mean in it that come from elsewhere. */
interface Module {
  readonly own: ReadonlyMap<string, Declaration>;
  readonly others: ReadonlyMap<string, { readonly file: string; readonly name: string }>;
  /** What it exports, its own names and those of others, in order. */
  readonly exports: readonly string[];
}

/** The text of the file. */
export async function pluginTypes(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "routelet-types-"));
  try {
    await emit(folder);
    return bundle(join(folder, ENTRY).replace(/\.ts$/, ".d.ts"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function emit(folder: string): Promise<void> {
  const { compilerOptions } = JSON.parse(readFileSync(join(ROOT, "tsconfig.json"), "utf8")) as {
    readonly compilerOptions: Readonly<Record<string, unknown>>;
  };
  const options = Object.entries(compilerOptions).filter(([name]) => name !== "noEmit")
    .flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = Bun.spawn([
    join(ROOT, "node_modules/.bin/tsc"),
    "--ignoreConfig",
    ...options,
    ...["--declaration", "--emitDeclarationOnly"],
    ...["--rootDir", ROOT, "--outDir", folder],
    join(ROOT, ENTRY),
  ], { cwd: ROOT, stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const [text, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  if (code !== 0) throw new Error(`tsc cannot write the declarations of ${ENTRY}:\n${text}`);
}

function bundle(entry: string): string {
  const modules = new Map<string, Module>();
  const moduleOf = (file: string): Module => {
    const module = modules.get(file) ?? parse(file);
    modules.set(file, module);
    return module;
  };
  const find = (file: string, name: string): Declaration | undefined => {
    const { own, others } = moduleOf(file);
    const other = others.get(name);
    return own.get(name) ?? (other === undefined ? undefined : find(other.file, other.name));
  };
  /** In the order in which a reader meets them. */
  const found = new Map<Declaration, readonly (readonly [string, Declaration])[]>();
  const visit = (declaration: Declaration): void => {
    if (found.has(declaration)) return;
    const names = [...new Set(code(declaration.text).match(/[A-Za-z_]\w*/g))];
    const uses = names.filter((name) => name !== declaration.name).flatMap((name) => {
      const used = find(declaration.file, name);
      return used === undefined ? [] : [[name, used] as const];
    });
    found.set(declaration, uses);
    for (const [, used] of uses) visit(used);
  };
  const roots = moduleOf(entry).exports.flatMap((name) => find(entry, name) ?? []);
  for (const root of roots) visit(root);
  const names = namesOf([...found.keys()]);
  const texts = [...found].map(([declaration, uses]) =>
    [[declaration.name, declaration] as const, ...uses].reduce((text, [name, used]) => {
      const given = names.get(used) ?? name;
      return given === name ? text : text.replace(new RegExp(`\\b${name}\\b`, "g"), given);
    }, declaration.text)
  );
  return `${HEADER}\n${texts.join("\n\n")}\n`;
}

/** Two declarations of one name: the later one gets that of its file before it. */
function namesOf(declarations: readonly Declaration[]): ReadonlyMap<Declaration, string> {
  const taken = new Set<string>();
  return new Map(declarations.map((declaration) => {
    const { name, file } = declaration;
    const prefix = basename(file, ".d.ts").replaceAll(/(?:^|-)(\w)/g, (_, c) => c.toUpperCase());
    const given = taken.has(name) ? `${prefix}${name}` : name;
    if (taken.has(given)) throw new Error(`Two declarations are called "${given}"; rename one`);
    taken.add(given);
    return [declaration, given];
  }));
}

/** A text without comments and string literals. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$|"(?:[^"\\]|\\.)*"/gm, " ");
}

function parse(file: string): Module {
  const own = new Map<string, Declaration>();
  const others = new Map<string, { file: string; name: string }>();
  const exports: string[] = [];
  for (const { comment, text } of statements(readFileSync(file, "utf8"))) {
    const named = /^(import|export)\s+(?:type\s+)?\{([^}]*)\}(?:\s+from\s+"([^"]+)")?/.exec(text);
    const declared = /^(?:export\s+)?(?:declare\s+)?(?:interface|type)\s+(\w+)/.exec(text);
    if (named !== null) {
      const [, word, list = "", from] = named;
      for (const part of list.split(",").map((each) => each.trim().replace(/^type\s+/, ""))) {
        if (part === "") continue;
        const [name = "", alias = name] = part.split(/\s+as\s+/);
        if (word === "export") exports.push(alias);
        if (from?.startsWith(".") === true) {
          others.set(alias, { file: resolve(dirname(file), from.replace(/\.ts$/, ".d.ts")), name });
        }
      }
    } else if (declared?.[1] !== undefined) {
      const [, name] = declared;
      if (text.startsWith("export")) exports.push(name);
      const exported = text.replace(/^(?:export\s+)?(?:declare\s+)?/, "export ");
      own.set(name, { file, name, text: `${comment}${exported}` });
    }
  }
  return { own, others, exports };
}

/** The statements of a file of declarations, as tsc writes them: what is inside of one is indented. */
function statements(source: string): readonly { comment: string; text: string }[] {
  const found: { comment: string; text: string }[] = [];
  let comment = "";
  let lines: string[] = [];
  let inComment = false;
  for (const line of source.split("\n")) {
    if (lines.length === 0 && (inComment || line.startsWith("/**"))) {
      comment = inComment ? `${comment}${line}\n` : `${line}\n`;
      inComment = !line.endsWith("*/");
      continue;
    }
    if (lines.length === 0 && line.trim() === "") continue;
    lines.push(line);
    const text = lines.join("\n");
    const bare = code(text);
    const depth = (bare.match(/[{([]/g)?.length ?? 0) - (bare.match(/[})\]]/g)?.length ?? 0);
    // A union goes on after a brace, where a comment stands before its next member.
    const end = /^(?:export )?(?:declare )?type\s/.test(bare) ? /;\s*$/ : /[;}]\s*$/;
    if (depth > 0 || !end.test(bare)) continue;
    found.push({ comment, text });
    comment = "";
    lines = [];
  }
  return found;
}

if (import.meta.main) process.stdout.write(await pluginTypes());
