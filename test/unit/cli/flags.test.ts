import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  camelCase,
  defaultFlags,
  FLAG_NAMES,
  type FlagName,
  FLAGS,
} from "../../../src/cli/flags.ts";
import { flagsPage } from "../../../src/cli/flags-page.ts";
import { parseFlags } from "../../../src/cli/parse-flags.ts";

const ROOT = join(import.meta.dir, "../../..");

/** What kube-router's help prints for each of its flags. */
const KUBE_ROUTER = (await Bun.file(join(import.meta.dir, "kube-router-flags.txt")).text())
  .split("\n").filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => line.split(" "));

/** Of the documents, dropped by kube-router since. */
const DROPPED = ["cluster-cidr", "config-sync-period"];

const OURS = [
  "advertise-service-ranges",
  "bgp-max-prefixes",
  "dry-run",
  "from",
  "log-format",
  "manifests",
  "netfilter",
  "netpol-keep-established",
  "output",
  "plugin",
  "plugins-dir",
  "root",
  "runtime-dir",
  "ui-addr",
  "verify",
  "vip-binding",
  "watch",
  "yes",
];

describe("the table of flags", () => {
  test("calls only those served that something reads", async () => {
    const table = new Set(["cli/flags.ts", "cli/flag-kinds.ts", "cli/validate-flags.ts"]);
    const files = [...new Bun.Glob("**/*.ts").scanSync(join(ROOT, "src"))]
      .filter((file) => !table.has(file));
    const texts = await Promise.all(files.map((file) => Bun.file(join(ROOT, "src", file)).text()));
    const source = texts.join("\n");
    const unread = FLAG_NAMES.filter((name) => {
      const { served, replacement } = FLAGS[name];
      if (!served || replacement !== undefined) return false;
      // Off the flags themselves, or out of those by a plugin's own list of what it takes.
      return !new RegExp(`flags\\.${camelCase(name)}\\b|^  "${camelCase(name)}",$`, "m").test(
        source,
      );
    });
    expect(unread).toEqual([]);
  });

  test("holds the 79 flags of kube-router, those it dropped and ours, and no other", () => {
    expect(KUBE_ROUTER.length).toBe(79);
    const all = [...KUBE_ROUTER.map(([name = ""]) => name), ...DROPPED, ...OURS];
    expect(FLAG_NAMES.toSorted()).toEqual(all.toSorted() as FlagName[]);
  });

  test.each(KUBE_ROUTER)("--%s has kube-router's type and default", (name, type, shown = "") => {
    const spec = FLAGS[name as FlagName];
    // Words for the same values that say more: a choice lists its words, the log level is a number.
    const word = spec.kind.isSwitch
      ? "bool"
      : spec.kind.word.includes("|") || name === "v"
      ? "string"
      : spec.kind.word;
    expect(word).toBe(type);
    expect(spec.kind.show(spec.default)).toBe(shown);
  });

  test.each(FLAG_NAMES.filter((name) => FLAGS[name].kind.show(FLAGS[name].default) !== ""))(
    "the default of --%s is a value that the flag takes",
    (name) => {
      const shown = FLAGS[name].kind.show(FLAGS[name].default);
      const { flags } = parseFlags([`--${name}=${shown}`]);
      expect(values(flags)[camelCase(name)]).toEqual(FLAGS[name].default);
    },
  );

  test("every flag is told apart by one short phrase without a full stop", () => {
    for (const name of FLAG_NAMES) {
      expect(FLAGS[name].usage).toMatch(/^[A-Z].*[^.]$/);
    }
    const letters = FLAG_NAMES.flatMap((name) => FLAGS[name].short ?? []);
    expect(letters.toSorted()).toEqual(["V", "h", "v"]);
  });

  test("the reference page is what the table says (make docs)", async () => {
    expect(await Bun.file(join(ROOT, "docs/reference/flags.md")).text()).toBe(flagsPage());
  });

  test("defaultFlags() gives every flag its default, except those that are set", () => {
    const flags = defaultFlags({ ipvsSyncPeriod: 1 });
    expect(flags.ipvsSyncPeriod).toBe(1);
    expect(flags.healthPort).toBe(20244);
    expect(flags.serviceNodePortRange).toEqual({ from: 30000, to: 32767 });
    expect(Object.keys(flags).length).toBe(FLAG_NAMES.length + 1);
  });
});

function values(flags: object): Readonly<Record<string, unknown>> {
  return flags as Readonly<Record<string, unknown>>;
}
