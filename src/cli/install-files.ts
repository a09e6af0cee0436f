/** The files of an installation on a bare host: their texts. Pure. */

import { POD_BRIDGE } from "../kernel/pod-bridge.ts";
import { FLAGS, type Flags } from "./flags.ts";
import { camelCase } from "./flags.ts";

export const EXECUTABLE = "/usr/local/bin/routelet";
export const UNIT = "/etc/systemd/system/routelet.service";
export const DEFAULTS = "/etc/default/routelet";
export const PLUGINS = "/etc/routelet/plugins.d";
export const CNI_FOLDER = "/etc/cni/net.d";
export const CNI_FILE = `${CNI_FOLDER}/10-kuberouter.conflist`;
/** A text for the CNI configuration in the place of ours; where the DaemonSet mounts its ConfigMap. */
export const CNI_TEMPLATE = "/etc/routelet/cni/10-kuberouter.conflist";

/** Flags of the installation itself, which are none of the agent's. */
const NOT_THE_AGENTS = new Set(["root", "dry-run", "verify", "output", "v"]);

/** The unit of systemd; also in `deploy/systemd`. */
export const UNIT_TEXT = `# Written by "routelet install". Flags are in ${DEFAULTS}.
[Unit]
Description=Service proxy, router and network policies of this Kubernetes node
Documentation=file:///usr/share/doc/routelet
Wants=network-online.target
After=network-online.target
# Pods need it before kubelet starts them.
Before=kubelet.service

[Service]
Type=simple
EnvironmentFile=-${DEFAULTS}
ExecStart=${EXECUTABLE} $ROUTELET_FLAGS
# SIGTERM leaves Linux as it is: a restart costs no packet.
KillMode=mixed
TimeoutStopSec=15
Restart=always
RestartSec=1
# The marks of what is ours in Linux must outlive the agent.
RuntimeDirectory=routelet
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
OOMScoreAdjust=-900
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;

/** The CNI configuration; the router adds the node's pod CIDRs and the MTU. */
export const CNI_TEXT = `{
  "cniVersion": "0.4.0",
  "name": "routelet",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "${POD_BRIDGE}",
      "isDefaultGateway": true,
      "ipam": { "type": "host-local" }
    },
    { "type": "portmap", "capabilities": { "snat": true, "portMappings": true } }
  ]
}
`;

/**
 * The agent's flags as systemd reads them.
 *
 * @throws {Error} where a value has a blank or a quote, which a unit would split
 */
export function defaultsText(flags: Flags): string {
  const values = flags as unknown as Readonly<Record<string, unknown>>;
  const words = flags.given.filter((name) => !NOT_THE_AGENTS.has(name)).map((name) => {
    const value = FLAGS[name].kind.show(values[camelCase(name)]);
    if (/[\s"'\\$]/.test(value)) {
      throw new Error(
        `Cannot write flag --${name} to "${DEFAULTS}": its value "${value}" has a blank, quote, backslash or dollar; ` +
          "write that file yourself after the installation",
      );
    }
    return `--${name}=${value}`;
  });
  return `# Flags of the agent, as "routelet help" lists them. After a change: systemctl restart routelet
ROUTELET_FLAGS="${words.join(" ")}"
`;
}
