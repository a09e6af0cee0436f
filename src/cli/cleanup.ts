/** The command `cleanup`: removes everything of ours from this node's Linux. Needs no API server. */

import type { Owner } from "../kernel/dataplane/dataplane.ts";
import { openLinux } from "../kernel/dataplane/linux/mod.ts";
import { tidyRuntimeFolder } from "../kernel/dataplane/linux/runtime-folder.ts";
import { NETFILTER_KINDS } from "../kernel/dataplane/linux/netfilter.ts";
import { createLogger } from "../kernel/observe/log.ts";
import { openProtocols } from "../kernel/guest/protocols.ts";
import { agentAnswers } from "../kernel/observe/socket.ts";
import { cleanup as removeAll } from "../kernel/runtime/cleanup.ts";
import { errorText, OWNERS } from "./agent.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { netfilterOf, openOther } from "./netfilter.ts";
import { type Dataplanes, proofText, prove, type Seen, survey } from "./verify.ts";

/** Removes everything of ours; 0 when nothing is left, 1 when something is. */
export async function cleanup(flags: Flags, io: Io): Promise<number> {
  if (await agentAnswers(flags.runtimeDir)) {
    io.stderr(
      "routelet: Cannot clean up: an agent runs on this node and would put everything back; stop it first\n",
    );
    return EXIT.failed;
  }
  const log = createLogger({
    verbosity: flags.v - 1,
    format: flags.logFormat,
    write: (line) => io.stderr(line),
  });
  const dataplane = openLinux({
    runtimeDirectory: flags.runtimeDir,
    runtimeEndpoint: flags.runtimeEndpoint,
    netfilter: netfilterOf(flags),
    log,
  });
  // Another start may have used the other one.
  const other = openOther(flags);
  let clean = false;
  try {
    // Those of third parties too, whether their files are still there or not.
    const thirdParties = openProtocols(flags.runtimeDir);
    const owners = [...OWNERS, ...thirdParties.owners()];
    if (flags.dryRun) {
      const left = await survey([dataplane, other], owners);
      io.stdout(leftText(left.flatMap(({ ours }) => ours), flags.output));
      return 0;
    }
    const results = [
      await removeAll(dataplane, owners),
      ...(other === undefined ? [] : [await removeAll(other, owners, NETFILTER_KINDS)]),
    ];
    const removed = results.flatMap((result) => result.removed);
    const failed = results.flatMap((result) => result.failed);
    clean = failed.length === 0;
    if (clean) thirdParties.forgetAll();
    if (flags.output === "text") {
      for (const text of failed) io.stderr(`routelet: ${text}\n`);
      io.stdout(removedText({ removed, failed }, "text"));
    }
    const proof = clean && flags.verify
      ? await verified([dataplane, other], owners, flags)
      : undefined;
    if (flags.output === "json") io.stdout(removedText({ removed, failed, proof }, "json"));
    else if (proof !== undefined) io.stdout(proofText(proof));
    return clean && (proof ?? []).every(({ ours }) => ours.length === 0) ? 0 : EXIT.failed;
  } catch (error) {
    io.stderr(`routelet: Cannot clean up: ${errorText(error)}\n`);
    return EXIT.failed;
  } finally {
    await dataplane.close();
    await other?.close();
    if (clean && !flags.verify) tidyRuntimeFolder(flags.runtimeDir);
  }
}

/** Looks again, by the marks and by other ways. */
async function verified(
  dataplanes: Dataplanes,
  owners: readonly Owner[],
  { runtimeDir }: Flags,
): Promise<readonly Seen[]> {
  tidyRuntimeFolder(runtimeDir);
  return await prove(dataplanes, owners, runtimeDir);
}

type Output = Flags["output"];

/** What a dry run would remove. */
export function leftText(left: readonly string[], output: Output): string {
  return output === "json"
    ? `${JSON.stringify({ wouldRemove: left }, null, 2)}\n`
    : left.map((item) => `would remove ${item}\n`).join("");
}

/** What was removed; as JSON one document, whatever was asked for. */
export function removedText(
  { removed, failed, proof }: {
    readonly removed: readonly string[];
    readonly failed: readonly string[];
    readonly proof?: readonly Seen[] | undefined;
  },
  output: Output,
): string {
  if (output === "json") return `${JSON.stringify({ removed, failed, proof }, null, 2)}\n`;
  return removed.map((text) => `- ${text}\n`).join("") +
    (failed.length === 0
      ? `${removed.length} removed, nothing of ours is left\n`
      : `${removed.length} removed, ${failed.length} could not be removed\n`);
}
