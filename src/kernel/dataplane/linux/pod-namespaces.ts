/**
 * The network namespaces of this machine, and which of them has an address. No container runtime is asked: a pod's
 * namespace is held by its processes, and nearly always by a mount as well (`ip netns`, containerd, CRI-O).
 *
 * Nothing is kept open: a descriptor or socket would keep a deleted pod's namespace, its veth and its addresses alive.
 */

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { KernelError } from "../errors.ts";
import { dumpAddresses } from "./address.ts";
import { AF_INET, AF_INET6, Rtnl } from "./rtnl.ts";

/** A network namespace: its identity, and a way to it that may end at any time. */
export interface PodNamespace {
  readonly inode: number;
  readonly path: string;
}

/** Another way to find namespaces by address: the container runtime's word. */
export interface NamespaceSource {
  /** Paths of the namespaces of pods with that address. @throws {KernelError} when it cannot be asked */
  find(address: string): Promise<readonly string[]>;
}

export interface PodNamespacesOptions {
  /** The node's own namespace, which is no pod's. Default: that of this thread. */
  readonly namespace?: string;
  /** Asked in the place of looking at every namespace. */
  readonly source?: NamespaceSource;
  /** Where /proc is; for tests. */
  readonly proc?: string;
}

const OWN = "/proc/thread-self/ns/net";
const LINK_TEXT = /^net:\[(\d+)\]$/;

export class PodNamespaces {
  readonly #options: PodNamespacesOptions;
  /** Where an address was found last. Checked before it is believed. */
  readonly #known = new Map<string, PodNamespace>();

  constructor(options: PodNamespacesOptions = {}) {
    this.#options = options;
  }

  /** Inode of the node's own namespace: it tells nodes that share a machine apart. */
  get own(): number {
    return statSync(this.#options.namespace ?? OWN).ino;
  }

  /** All namespaces but the node's own. */
  all(): readonly PodNamespace[] {
    const proc = this.#options.proc ?? "/proc";
    const found = new Map<number, string>();
    // A mount outlives the processes, so it is the better way.
    readMounts(`${proc}/self/mountinfo`, "", found);
    readMounts(`${proc}/1/mountinfo`, `${proc}/1/root`, found);
    for (const pid of readdirSync(proc)) {
      if (!/^\d+$/.test(pid)) continue;
      const path = `${proc}/${pid}/ns/net`;
      const inode = inodeOf(path);
      if (inode !== undefined && !found.has(inode)) found.set(inode, path);
    }
    found.delete(this.own);
    return [...found].map(([inode, path]) => ({ inode, path }));
  }

  /** Starts a search; what it learns serves all addresses that it is asked for. */
  search(): NamespaceSearch {
    let all: Promise<ReadonlyMap<string, readonly PodNamespace[]>> | undefined;
    const look = async (address: string): Promise<readonly PodNamespace[]> => {
      const { source } = this.#options;
      if (source !== undefined) {
        return (await source.find(address)).flatMap((path) => {
          const inode = inodeByStat(path);
          return inode === undefined ? [] : [{ inode, path }];
        });
      }
      const known = this.#known.get(address);
      if (known !== undefined && await stillHas(known, address)) return [known];
      this.#known.delete(address);
      all ??= this.#survey();
      const found = (await all).get(address) ?? [];
      if (found.length === 1 && found[0] !== undefined) this.#known.set(address, found[0]);
      return found;
    };
    return { find: look };
  }

  async #survey(): Promise<ReadonlyMap<string, readonly PodNamespace[]>> {
    const byAddress = new Map<string, PodNamespace[]>();
    for (const namespace of this.all()) {
      for (const address of await addressesIn(namespace) ?? []) {
        const others = byAddress.get(address);
        if (others === undefined) byAddress.set(address, [namespace]);
        else if (!others.includes(namespace)) others.push(namespace);
      }
    }
    return byAddress;
  }
}

export interface NamespaceSearch {
  /** The namespaces that have an address; nearly always one, none where the pod is gone. @throws {KernelError} */
  find(address: string): Promise<readonly PodNamespace[]>;
}

/** Opens a namespace's rtnetlink for `work` alone; undefined where the namespace is gone. @throws {KernelError} */
export async function within<T>(
  namespace: PodNamespace,
  work: (rtnl: Rtnl) => Promise<T> | T,
): Promise<T | undefined> {
  const rtnl = new Rtnl({ namespace: namespace.path, dumpTries: TRIES });
  try {
    // Process ids are used again: the path must still lead to the namespace that is meant.
    if (inodeByStat(namespace.path) !== namespace.inode) return undefined;
    try {
      void rtnl.socket;
    } catch (error) {
      if (error instanceof KernelError && ["ENOENT", "ESRCH", "EINVAL"].includes(error.code)) {
        return undefined;
      }
      throw error;
    }
    return await work(rtnl);
  } finally {
    rtnl.close();
  }
}

/** How often a list in a pod is read that changes meanwhile: who makes it do so must not hold up the node. */
const TRIES = 3;
/** What a pod can make reading its namespace come to, by links or addresses that it changes without rest. */
const UNREADABLE: ReadonlySet<string> = new Set(["EINTR", "EMSGSIZE", "EBADMSG", "ETIMEDOUT"]);

/**
 * As `within`, to read. A namespace that cannot be read for what goes on in it counts as one that is gone: it costs that pod, and not
 * the node.
 *
 * @throws {KernelError} for all other reasons
 */
export async function readWithin<T>(
  namespace: PodNamespace,
  work: (rtnl: Rtnl) => Promise<T> | T,
): Promise<T | undefined> {
  try {
    return await within(namespace, work);
  } catch (error) {
    if (error instanceof KernelError && UNREADABLE.has(error.code)) return undefined;
    throw error;
  }
}

async function addressesIn(namespace: PodNamespace): Promise<readonly string[] | undefined> {
  return await readWithin(namespace, async (rtnl) => {
    const four = await dumpAddresses(rtnl.socket, AF_INET);
    const six = await dumpAddresses(rtnl.socket, AF_INET6);
    return [...four, ...six].map(({ address }) => address);
  });
}

async function stillHas(namespace: PodNamespace, address: string): Promise<boolean> {
  return (await addressesIn(namespace))?.includes(address) === true;
}

/** Namespaces that are mounted somewhere: proc(5), mountinfo; the fourth field is "net:[inode]". */
function readMounts(file: string, root: string, found: Map<number, string>): void {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return; // without the right to see another process's mounts there are those of the others
  }
  for (const line of text.split("\n")) {
    if (!line.includes(" net:[")) continue;
    const fields = line.split(" ");
    const inode = LINK_TEXT.exec(fields[3] ?? "")?.[1];
    if (inode === undefined || found.has(Number(inode))) continue;
    const path = root + unescaped(fields[4] ?? "");
    if (inodeByStat(path) === Number(inode)) found.set(Number(inode), path);
  }
}

/** Blanks, tabs, line ends and backslashes are octal in mountinfo. */
function unescaped(path: string): string {
  return path.replaceAll(
    /\\([0-7]{3})/g,
    (_, code: string) => String.fromCharCode(parseInt(code, 8)),
  );
}

function inodeOf(path: string): number | undefined {
  try {
    const inode = LINK_TEXT.exec(readlinkSync(path))?.[1];
    return inode === undefined ? undefined : Number(inode);
  } catch {
    return undefined; // gone, or of a user that we may not look at
  }
}

function inodeByStat(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}
