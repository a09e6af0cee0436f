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
import { type Dataplanes, proofText, prove, survey } from "./verify.ts";

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
      for (const item of left.flatMap(({ ours }) => ours)) io.stdout(`would remove ${item}\n`);
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
    if (flags.output === "json") {
      io.stdout(`${JSON.stringify({ removed, failed }, null, 2)}\n`);
    } else {
      for (const text of removed) io.stdout(`- ${text}\n`);
      for (const text of failed) io.stderr(`routelet: ${text}\n`);
      io.stdout(
        failed.length === 0
          ? `${removed.length} removed, nothing of ours is left\n`
          : `${removed.length} removed, ${failed.length} could not be removed\n`,
      );
    }
    if (!clean) return EXIT.failed;
    return flags.verify ? await verified([dataplane, other], owners, flags, io) : 0;
  } catch (error) {
    io.stderr(`routelet: Cannot clean up: ${errorText(error)}\n`);
    return EXIT.failed;
  } finally {
    await dataplane.close();
    await other?.close();
    if (clean && !flags.verify) tidyRuntimeFolder(flags.runtimeDir);
  }
}

/** Looks again, by the marks and by other ways, and prints what it saw. 0 where nothing of ours is left. */
async function verified(
  dataplanes: Dataplanes,
  owners: readonly Owner[],
  { runtimeDir, output }: Flags,
  io: Io,
): Promise<number> {
  tidyRuntimeFolder(runtimeDir);
  const proof = await prove(dataplanes, owners, runtimeDir);
  io.stdout(output === "json" ? `${JSON.stringify(proof, null, 2)}\n` : proofText(proof));
  return proof.every(({ ours }) => ours.length === 0) ? 0 : EXIT.failed;
}
