/**
 * Prefixes that the router announces from this node while a local health check holds: the anycast address of a DNS server, say.
 *
 *     --plugin advertise-static.prefixes=192.0.2.53/32 --plugin advertise-static.check=tcp://127.0.0.1:53
 */

import { execFile } from "node:child_process";
import { connect } from "node:net";
import type { Advertisement, Input, Plugin, Settings } from "../src/kernel/third-party.ts";

interface Options {
  readonly prefixes: readonly string[];
  /** What every prefix is announced with. */
  readonly attributes: Omit<Advertisement, "prefix">;
  readonly check: string;
  /** Milliseconds. */
  readonly interval: number;
  readonly timeout: number;
  readonly rise: number;
  readonly fall: number;
}

const plugin: Plugin<Options> = {
  name: "advertise-static",
  api: 1,
  summary: "Prefixes announced by BGP while a health check holds",
  options: {
    prefixes: { default: [], help: "Networks to announce, such as 192.0.2.53/32" },
    check: {
      default: "",
      help: "tcp://HOST:PORT, http://…, or exec:COMMAND; none: always healthy",
    },
    interval: { default: 1, help: "Seconds between checks" },
    timeout: { default: 1, help: "Seconds that a check may take" },
    rise: { default: 2, help: "Checks in a row that must succeed before anything is announced" },
    fall: { default: 3, help: "Checks in a row that must fail before it is withdrawn" },
    communities: { default: [], help: "Such as 65000:1 or no-export" },
    localPreference: { default: 100, help: "Only peers of our own AS are told; more is better" },
    nextHop: { default: "", help: "Where the traffic goes; none: this node" },
  },
  watches: [],
  tables: ["advertisements"],
  parse,
  setup({ options, tables, metrics, log, reconcile, background }) {
    const { prefixes, attributes, check, interval } = options;
    const health = healthInput(options);
    const gauge = metrics.gauge("healthy", "Whether the health check holds");
    reconcile({
      name: "prefix",
      inputs: [health],
      units: () => prefixes,
      desired(prefix, desired) {
        if (health.reason === undefined) {
          desired.want(tables.advertisements, { prefix, ...attributes });
        } else desired.report(`Not announced, as ${check} fails: ${health.reason}`);
      },
    });
    if (check === "") return;
    background(() => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      let stopped = false;
      const look = async (): Promise<void> => {
        const failure = await probe(check, options.timeout);
        if (stopped) return;
        if (health.take(failure)) {
          gauge.set(health.reason === undefined ? 1 : 0);
          log.info("Health changed", { check, failure: health.reason ?? "none" });
        }
        timer = setTimeout(look, interval);
      };
      void look();
      return () => {
        stopped = true;
        clearTimeout(timer);
      };
    });
  },
};

function parse(settings: Settings): Options {
  const number = (name: string, least: number): number => {
    const value = Number(settings[name]);
    if (value >= least) return value;
    throw new Error(`Option "${name}" cannot be ${value}: allowed is a number from ${least}`);
  };
  const check = String(settings["check"]);
  if (check !== "" && !/^(tcp:\/\/.+:\d+$|https?:\/\/.|exec:.)/.test(check)) {
    throw new Error(
      `Option "check" cannot be "${check}": allowed are tcp://HOST:PORT, http://… and exec:COMMAND`,
    );
  }
  return {
    prefixes: settings["prefixes"] as readonly string[],
    attributes: {
      communities: settings["communities"] as readonly string[],
      localPreference: number("localPreference", 0),
      ...(settings["nextHop"] === "" ? {} : { nextHop: String(settings["nextHop"]) }),
    },
    check,
    interval: number("interval", 0.1) * 1000,
    timeout: number("timeout", 0.1) * 1000,
    rise: number("rise", 1),
    fall: number("fall", 1),
  };
}

interface Health extends Input {
  /** Why nothing is announced; undefined while all is well. */
  readonly reason: string | undefined;
  /** Takes one answer, undefined for a good one. Whether that changed anything. */
  take(failure: string | undefined): boolean;
}

/** What the checks come to: changes after `rise` good ones or `fall` bad ones in a row. Unknown until the first of both. */
function healthInput({ check, rise, fall }: Options): Health {
  let synced = check === "";
  let reason: string | undefined;
  let run = 0;
  const wakes = new Set<() => void>();
  return {
    name: "health",
    get synced() {
      return synced;
    },
    get waitsFor() {
      return synced ? undefined : `the health check ${check}`;
    },
    get reason() {
      return reason;
    },
    take(failure) {
      const good = failure === undefined;
      run = good ? Math.max(run, 0) + 1 : Math.min(run, 0) - 1;
      if (good ? run < rise : -run < fall) return false;
      if (synced && good === (reason === undefined)) return false;
      synced = true;
      reason = failure;
      for (const wake of wakes) wake();
      return true;
    },
    subscribe(wake) {
      const own = (): void => wake("all");
      wakes.add(own);
      return () => void wakes.delete(own);
    },
  };
}

/** Why a check does not hold; undefined where it does. */
async function probe(check: string, timeout: number): Promise<string | undefined> {
  try {
    if (check.startsWith("exec:")) await run(check.slice("exec:".length), timeout);
    else if (check.startsWith("tcp:")) await open(new URL(check), timeout);
    else {
      const response = await fetch(check, { signal: AbortSignal.timeout(timeout) });
      await response.body?.cancel();
      if (!response.ok) return `status ${response.status}`;
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function run(command: string, timeout: number): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile("/bin/sh", ["-c", command], { timeout }, (error) => error ? reject(error) : resolve());
  });
}

function open({ hostname, port }: URL, timeout: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ""));
    socket.setTimeout(timeout, () => socket.destroy(new Error("no answer in time")));
    socket.on("error", reject);
    socket.on("connect", () => {
      socket.destroy();
      resolve();
    });
  });
}

export default plugin;
