/**
 * Words of a command line to `Flags`, as pflag reads them: `--x`, `--x=v`, `--x v` (never for a switch), `-v3`,
 * `-v=3`, grouped letters, `--` ends flags, flags and positional words in any order. `node:util` cuts the words into
 * tokens; this file gives them pflag's meaning.
 */
import { parseArgs, type ParseArgsConfig } from "node:util";
import {
  camelCase,
  defaultFlags,
  FLAG_NAMES,
  type FlagName,
  FLAGS,
  type Flags,
  type FlagSpec,
} from "./flags.ts";
import { nearest } from "./suggest.ts";
import { crossCheck, hideUserInfo } from "./validate-flags.ts";

/** What a command line says. */
export interface CommandLine {
  readonly flags: Flags;
  /** The words that are no flags, in order: the command first. */
  readonly positionals: readonly string[];
}

/** Something on the command line is wrong; `problems` has one line for each thing. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  constructor(
    readonly problems: readonly string[],
    /** The words that are no flags; the first one names the command. */
    readonly positionals: readonly string[] = [],
  ) {
    super(problems.join("\n"));
  }
}

interface Given {
  readonly name: FlagName;
  /** As typed: `--cluster-asn` or `-v`. */
  readonly typed: string;
  readonly value: string;
}

/** Parses and validates; throws a `UsageError` with every problem of the line at once. */
export function parseFlags(args: readonly string[]): CommandLine {
  const problems: string[] = [];
  const { given, positionals } = tokens(args, problems);
  const values = new Map<FlagName, unknown>();
  for (const { name, typed, value } of given) {
    const spec = FLAGS[name];
    try {
      values.set(name, spec.kind.parse(value, values.get(name)));
    } catch (error) {
      problems.push(badValue(typed, spec, value, error));
    }
  }
  for (const [name, value] of values) {
    const spec = FLAGS[name];
    const allowed = spec.check?.(value);
    if (allowed !== undefined) {
      problems.push(notAllowed(`--${name}`, spec, spec.kind.show(value), allowed));
    }
  }
  const set = Object.fromEntries([...values].map(([name, value]) => [camelCase(name), value]));
  const flags = defaultFlags({ ...set, given: [...values.keys()] });
  // Crossing values that are wrong themselves would only repeat the first complaint.
  if (problems.length === 0) problems.push(...crossCheck(flags));
  if (problems.length > 0) throw new UsageError(problems, positionals);
  return { flags, positionals };
}

function tokens(
  args: readonly string[],
  problems: string[],
): { given: readonly Given[]; positionals: readonly string[] } {
  const given: Given[] = [];
  const positionals: string[] = [];
  const { tokens } = parseArgs({
    args: [...args],
    options: OPTIONS,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  let skipped = -1;
  for (const [at, token] of tokens.entries()) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option" || token.index === skipped) continue;
    const isLetter = !token.rawName.startsWith("--");
    const spec = isFlag(token.name) && (isLetter || token.rawName === `--${token.name}`)
      ? FLAGS[token.name]
      : undefined;
    if (spec === undefined || !isFlag(token.name)) {
      problems.push(unknown(token.rawName, args[token.index] ?? ""));
      skipped = isLetter ? token.index : skipped;
      continue;
    }
    let value = token.value;
    if (isLetter) {
      // `-V=true`: node:util takes "=" for the next letter of the group, pflag for the start of the value.
      const next = tokens[at + 1];
      const word = args[token.index] ?? "";
      if (
        spec.kind.isSwitch && next?.kind === "option" && next.index === token.index &&
        next.name === "="
      ) {
        value = word.slice(word.indexOf("=") + 1);
        skipped = token.index;
      } else if (token.inlineValue && value?.startsWith("=")) value = value.slice(1);
    }
    if (value === undefined && spec.kind.isSwitch) value = "true";
    if (value === undefined) {
      problems.push(`Flag ${token.rawName} needs a value: ${spec.kind.allowed}`);
      continue;
    }
    given.push({ name: token.name, typed: token.rawName, value });
  }
  return { given, positionals };
}

const OPTIONS: ParseArgsConfig["options"] = Object.fromEntries(
  FLAG_NAMES.map((name) => {
    const { kind, short } = FLAGS[name];
    const type = kind.isSwitch ? "boolean" as const : "string" as const;
    return [name, short === undefined ? { type } : { type, short }];
  }),
);

function isFlag(name: string): name is FlagName {
  return Object.hasOwn(FLAGS, name);
}

function unknown(rawName: string, word: string): string {
  if (!rawName.startsWith("--")) {
    // One dash before a long name is the usual slip: -kubeconfig.
    const name = word.replace(/^-+/, "").replace(/=.*$/s, "");
    const hint = isFlag(name) ? `; did you mean "--${name}"` : "";
    return `Unknown flag "${word}"${hint}`;
  }
  const near = nearest(rawName.slice(2), FLAG_NAMES);
  const negated = rawName.startsWith("--no-") ? rawName.slice(5) : "";
  if (isFlag(negated) && FLAGS[negated].kind.isSwitch) {
    return `Unknown flag "${rawName}"; did you mean "--${negated}=false"`;
  }
  return `Unknown flag "${rawName}"${near === undefined ? "" : `; did you mean "--${near}"`}`;
}

function badValue(typed: string, spec: FlagSpec<unknown>, value: string, error: unknown): string {
  if (!(error instanceof TypeError)) throw error;
  return notAllowed(typed, spec, value, error.message);
}

function notAllowed(
  typed: string,
  spec: FlagSpec<unknown>,
  value: string,
  allowed: string,
): string {
  const shown = spec.secret === true ? "a hidden value" : `"${hideUserInfo(value)}"`;
  return `Flag ${typed} cannot be ${shown}: allowed is ${allowed}`;
}
