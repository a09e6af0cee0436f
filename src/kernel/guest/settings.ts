/** Options of third parties' plugins: what was declared, what was given, and what comes of it. Pure. */

import type { OptionDeclaration, Setting, Settings } from "../third-party.ts";

/**
 * The value of every declared option.
 *
 * @param given texts from flags, values from YAML
 * @throws {Error} that names each option that is unknown or has a value of another type
 */
export function settingsOf(
  declared: Readonly<Record<string, OptionDeclaration>>,
  given: Readonly<Record<string, unknown>>,
): Settings {
  const problems = Object.keys(given).filter((key) => !Object.hasOwn(declared, key))
    .map((key) => `Option "${key}" is unknown: ${known(declared)}`);
  const settings: Record<string, Setting> = {};
  for (const [key, { default: fallback }] of Object.entries(declared)) {
    const value = Object.hasOwn(given, key) ? valueLike(fallback, given[key]) : fallback;
    if (value !== undefined) settings[key] = value;
    else {
      problems.push(
        `Option "${key}" cannot be ${JSON.stringify(given[key])}: allowed is ${
          typeName(fallback)
        }, such as ${JSON.stringify(fallback)}`,
      );
    }
  }
  if (problems.length > 0) throw new Error(problems.join("; "));
  return settings;
}

function known(declared: Readonly<Record<string, OptionDeclaration>>): string {
  const names = Object.keys(declared);
  return names.length === 0 ? "it takes none" : `it takes ${names.join(", ")}`;
}

/** The value as the type of `fallback`, or undefined where it is none. */
function valueLike(fallback: Setting, value: unknown): Setting | undefined {
  if (typeof value === typeof fallback && !Array.isArray(fallback)) return value as Setting;
  if (Array.isArray(fallback)) {
    if (typeof value === "string") {
      return value === "" ? [] : value.split(",").map((part) => part.trim());
    }
    return Array.isArray(value) && value.every((each) => typeof each === "string")
      ? value
      : undefined;
  }
  if (typeof value !== "string") return undefined;
  if (typeof fallback === "boolean") {
    return value === "true" ? true : value === "false" ? false : undefined;
  }
  const number = Number(value);
  return typeof fallback === "number" && value.trim() !== "" && Number.isFinite(number)
    ? number
    : undefined;
}

function typeName(value: Setting): string {
  switch (typeof value) {
    case "string":
      return "a text";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "a list of texts";
  }
}
