/**
 * The kinds of value a flag can have, in pflag's terms: how text becomes a value and how a value becomes text.
 * `parse` throws a `TypeError` whose message says what is allowed; the caller adds the flag and the value.
 */
import { canonicalIp, parseCidr } from "../kernel/ip.ts";

/** One kind of value. `T` is what the program sees. */
export interface Kind<T> {
  /** The word that help prints after the flag's name; empty for a switch. */
  readonly word: string;
  /** A switch may stand alone and never takes the next word. */
  readonly isSwitch: boolean;
  /** Given again, the values add up; the first one given replaces the default. */
  readonly repeats: boolean;
  /** What is allowed, as a phrase for errors and the reference page. */
  readonly allowed: string;
  parse(text: string, before: T | undefined): T;
  show(value: T): string;
}

function plain<T>(
  word: string,
  allowed: string,
  parse: (text: string) => T | undefined,
  show: (value: T) => string = String,
): Kind<T> {
  return {
    word,
    allowed,
    isSwitch: false,
    repeats: false,
    show,
    parse(text) {
      const value = parse(text);
      if (value === undefined) throw new TypeError(allowed);
      return value;
    },
  };
}

/** Go's `strconv.ParseBool`, which is what pflag takes. */
const BOOLS: Readonly<Record<string, boolean>> = {
  "1": true,
  t: true,
  T: true,
  true: true,
  TRUE: true,
  True: true,
  "0": false,
  f: false,
  F: false,
  false: false,
  FALSE: false,
  False: false,
};

export const bool: Kind<boolean> = {
  ...plain(
    "",
    "true or false",
    (text) => Object.hasOwn(BOOLS, text) ? BOOLS[text] : undefined,
  ),
  isSwitch: true,
};

export const text: Kind<string> = plain("string", "any text", (value) => value);

/** An unsigned number within `min`..`max`; like pflag it takes 0x, 0o, 0b and a leading zero as octal. */
export function uint(min: number, max: number, word = "uint"): Kind<number> {
  return plain(word, `a whole number from ${min} to ${max}`, (value) => {
    const number = parseUint(value);
    return number === undefined || number < min || number > max ? undefined : number;
  });
}

/** A 32 bit signed number, for `-v`. */
export const int32: Kind<number> = plain(
  "int",
  "a whole number from -2147483648 to 2147483647",
  (value) => {
    if (!/^[+-]?[0-9]+$/.test(value)) return undefined;
    const number = Number(value);
    return number < -(2 ** 31) || number >= 2 ** 31 ? undefined : number;
  },
);

/** A Go duration, held in milliseconds. */
export const duration: Kind<number> = plain(
  "duration",
  'a duration such as "300ms", "30s", "5m0s" or "1h30m" (units ns, us, ms, s, m, h)',
  parseGoDuration,
  showGoDuration,
);

/** One word of a fixed set. */
export function choice<const T extends string>(...words: readonly T[]): Kind<T> {
  const list = words.map((word) => `"${word}"`).join(", ");
  return plain(words.join("|"), `one of ${list}`, (value) => words.find((word) => word === value));
}

/** Comma lists and repeats of one kind of item; quotes and blanks around items do not count. */
function list<T>(
  word: string,
  allowed: string,
  item: (text: string) => T | undefined,
): Kind<readonly T[]> {
  return {
    word,
    allowed,
    isSwitch: false,
    repeats: true,
    show: (values) => values.join(","),
    parse(value, before = []) {
      // pflag strips quotes here, and manifests in the field carry them: --x="a,b" as one YAML string.
      const bare = value.replace(/["'`]/g, "");
      if (bare.trim() === "") return before;
      const items = bare.split(",").map((part) => {
        const parsed = item(part.trim());
        if (parsed === undefined) {
          throw new TypeError(
            part.trim() === value ? allowed : `${allowed} ("${part.trim()}" is not)`,
          );
        }
        return parsed;
      });
      return [...before, ...items];
    },
  };
}

/** CIDRs of either family, kept in canonical form with host bits cleared. */
export const cidrs: Kind<readonly string[]> = list(
  "strings",
  'a comma list of CIDRs such as "10.96.0.0/12" or "fd00:10:96::/112"',
  (value) => parseCidr(value)?.text,
);

/** IP addresses of either family, kept in canonical form. */
export const ips: Kind<readonly string[]> = list(
  "ipSlice",
  'a comma list of IP addresses such as "10.0.0.1,fd00::1"',
  canonicalIp,
);

/** A list of unsigned numbers within `min`..`max`. */
export function uints(min: number, max: number): Kind<readonly number[]> {
  return list("uints", `a comma list of whole numbers from ${min} to ${max}`, (value) => {
    const number = parseUint(value);
    return number === undefined || number < min || number > max ? undefined : number;
  });
}

/**
 * Passwords in base64, one a peer, still encoded; an empty item is a peer without one. An error never shows an item:
 * it would end in a log.
 */
export const passwords: Kind<readonly string[]> = {
  word: "strings",
  allowed: "a comma list of passwords, each in standard base64",
  isSwitch: false,
  repeats: true,
  show: (values) => values.map(() => "***").join(","),
  parse(value, before = []) {
    const items = value.replace(/["'`]/g, "").split(",").map((part) => part.trim());
    for (const item of items) {
      if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(item)) {
        throw new TypeError(this.allowed);
      }
    }
    return value === "" ? before : [...before, ...items];
  },
};

/** First and last port of a range, both within it. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** `A-B` or `A:B`. */
export const portRange: Kind<PortRange> = plain(
  "string",
  'two ports as "A-B" or "A:B", both from 1 to 65535, the first below the second',
  (value) => {
    const match = /^([0-9]{1,5})[-:]([0-9]{1,5})$/.exec(value);
    const from = Number(match?.[1] ?? 0);
    const to = Number(match?.[2] ?? 0);
    return from < 1 || to > 65535 || from >= to ? undefined : { from, to };
  },
  (value) => `${value.from}-${value.to}`,
);

/** Options of plugins by plugin and key, each as the text that was given. */
export type PluginOptions = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** `NAME.key=value`, or `NAME` alone, repeated; commas belong to the value. */
export const pluginOptions: Kind<PluginOptions> = {
  word: "NAME[.key=value]",
  allowed: 'a plugin\'s option as "NAME.key=value", or the name of a plugin alone',
  isSwitch: false,
  repeats: true,
  show: (value) =>
    Object.entries(value).flatMap(([plugin, options]) => {
      const set = Object.entries(options).map(([key, setting]) => `${plugin}.${key}=${setting}`);
      return set.length === 0 ? [plugin] : set;
    }).join(" "),
  parse(value, before = {}) {
    if (/^[a-z][a-z0-9-]*$/.test(value)) return { ...before, [value]: { ...before[value] } };
    const match = /^([a-z][a-z0-9-]*)\.([A-Za-z][A-Za-z0-9_.-]*)=(.*)$/s.exec(value);
    const [, plugin, key, setting] = match ?? [];
    if (plugin === undefined || key === undefined || setting === undefined) {
      throw new TypeError(this.allowed);
    }
    return { ...before, [plugin]: { ...before[plugin], [key]: setting } };
  },
};

function parseUint(value: string): number | undefined {
  const digits = value.replaceAll("_", "");
  if (/^0[xX][0-9a-fA-F]+$|^0[bB][01]+$|^0[oO][0-7]+$/.test(digits)) return Number(digits);
  if (/^0[0-7]+$/.test(digits)) return Number.parseInt(digits, 8);
  return /^(?:0|[1-9][0-9]*)$/.test(digits) ? Number(digits) : undefined;
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3, // U+00B5
  "μs": 1e-3, // U+03BC
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's `time.ParseDuration`, in milliseconds, or `undefined`. Its limit is 2^63 ns, about 292 years. */
export function parseGoDuration(value: string): number | undefined {
  const match = /^([+-]?)(.*)$/s.exec(value);
  const sign = match?.[1] === "-" ? -1 : 1;
  let rest = match?.[2] ?? "";
  if (rest === "0") return 0;
  if (rest === "") return undefined;
  let total = 0;
  while (rest !== "") {
    const part = /^([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)/.exec(rest);
    const unit = UNITS[part?.[2] ?? ""];
    if (part === null || unit === undefined) return undefined;
    total += Number(part[1]) * unit;
    rest = rest.slice(part[0].length);
  }
  return total > 2 ** 63 / 1e6 ? undefined : sign * total;
}

/** A duration as Go prints it: `5m0s`, `1h30m0s`, `300ms`, `0s`. */
export function showGoDuration(ms: number): string {
  if (ms < 0) return `-${showGoDuration(-ms)}`;
  if (ms === 0) return "0s";
  if (ms < 1e-3) return `${round(ms * 1e6)}ns`;
  if (ms < 1) return `${round(ms * 1e3)}µs`;
  if (ms < 1000) return `${round(ms)}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor(ms % 3_600_000 / 60_000);
  const seconds = `${round(ms % 60_000 / 1000)}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

function round(value: number): number {
  return Number(value.toFixed(9));
}
