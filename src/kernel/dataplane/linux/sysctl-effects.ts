/**
 * Sysctls that change others: Linux copies `forwarding` and `disable_ipv6` of "all" to every link, and `ip_forward` turns redirects
 * around. Whoever gives back the one must give back the others too.
 */

/** How /proc/sys is read; undefined and [] where there is no such file or folder. */
export interface SysctlReader {
  value(path: string): string | undefined;
  names(folder: string): readonly string[];
}

/** Folder of the links' settings and the setting that is copied to them. */
const COPIED: Readonly<Record<string, readonly [folder: string, name: string]>> = {
  "net/ipv4/ip_forward": ["net/ipv4/conf", "forwarding"],
  "net/ipv6/conf/all/forwarding": ["net/ipv6/conf", "forwarding"],
  "net/ipv6/conf/all/disable_ipv6": ["net/ipv6/conf", "disable_ipv6"],
};

/**
 * Values that a change of `path`, and back to `was`, would not leave as they are now, by path.
 *
 * @param was the value that `path` has now
 */
export function sideEffects(
  path: string,
  was: string,
  linux: SysctlReader,
): Readonly<Record<string, string>> {
  const copied = COPIED[path];
  if (copied === undefined) return {};
  const [folder, name] = copied;
  const found: Record<string, string> = {};
  for (const link of linux.names(folder)) {
    // "all" of IPv4 is ip_forward itself.
    if (link === "all") continue;
    const value = linux.value(`${folder}/${link}/${name}`);
    if (value !== undefined && value !== was) found[`${folder}/${link}/${name}`] = value;
  }
  if (path === "net/ipv4/ip_forward") {
    // inet_forward_change(): a router ignores redirects, a host takes them.
    const redirects = "net/ipv4/conf/all/accept_redirects";
    const value = linux.value(redirects);
    if (value !== undefined && (value === "0") !== (was !== "0")) found[redirects] = value;
  }
  return found;
}
