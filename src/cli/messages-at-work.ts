/** Messages of the agent at work: what Linux refuses, the log, and problems of objects. */

import type { MessageSection } from "./messages.ts";

export const LINUX: MessageSection = {
  title: "Linux",
  introduction:
    "One form for whatever Linux refuses: in the log as `error` of `Linux refused a change`, in the status as `failed` or as the reason of a degraded plugin. It is tried again, 100 ms to a minute apart. Other codes are Linux's own, as `man errno` has them.",
  messages: [
    {
      says: 'Cannot VERB KIND "…": CODE (detail); remedy',
      code: ["Cannot ……: ………"],
      means: "the operation, the object, Linux's code and text, and what helps where it is known",
    },
    {
      says: "… ENOSUPPORT, EOPNOTSUPP, EPROTONOSUPPORT",
      code: [],
      means: "this Linux lacks a module or an option",
      remedy:
        "load the module that is named (`modprobe`), or take another kernel; `routelet doctor`",
    },
    {
      says: "… EEXIST (it is not ours)",
      code: [],
      means: "another program has an object of that name or address; it is not touched",
      remedy: "remove or rename it; after kube-router or kube-proxy `routelet migrate`",
    },
    {
      says: "… EPERM, EACCES",
      code: [],
      means: "not root, or a container without the capability",
      remedy: "run it privileged, in the host's network",
    },
    {
      says: "… ENOBUFS, ETIMEDOUT, EBUSY",
      code: [],
      means: "Linux was too busy to answer; what it holds is read again",
    },
    {
      says: "… ENOMEM, ENOSPC",
      code: [],
      means: "no memory, or a table or disk is full",
      remedy: "raise the limit that the object names, or make room",
    },
    {
      says: "… ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL",
      code: [],
      means: "what it stands on is gone: another program removed it; it is made again",
    },
    {
      says: 'Cannot note whose routes are whose in "…": …; …',
      code: [
        'Cannot note whose routes are whose in "…": …; give a --runtime-dir that can be written',
      ],
      means: "a third party's plugin got no route protocol of its own, and does not run",
    },
    {
      says: 'Cannot listen for BGP on "…" port …: …; is another speaker running?',
      means: "the router does not speak BGP; it is tried again",
      remedy: "stop BIRD, FRR or kube-router there, or choose `--bgp-port`",
    },
    {
      says: 'Cannot listen on "…": this node does not speak IPv…; it is left out',
      means: "an address that BGP was told to listen on, of a family that the node lacks",
    },
    {
      says: 'Cannot read "…" of --peer-router-passwords-file: …',
      means: "the peers of before stay until it can be read",
    },
    {
      says: "Cannot connect: …, Cannot use address …",
      code: [
        "Cannot connect: …",
        "Cannot …: …",
        'Cannot use address "…": it is none',
        'Cannot use address "…": there is no interface "…"',
      ],
      means:
        "a session of BGP could not be opened; `bgp neighbors PEER` shows it as its last error",
    },
  ],
};

export const LOG: MessageSection = {
  title: "Warnings and errors in the log",
  introduction:
    "Constant texts, so that they can be searched for; what varies is in fields. Those that only inform are in [troubleshoot](../troubleshoot.md#lines-of-the-log).",
  messages: [
    {
      says: "Linux refused a change",
      means: "`error` has object, code, reason and remedy; all else goes on",
    },
    {
      says: "Conflict",
      means: "another program, or an older object, holds what this one wants; nothing was changed",
      remedy: "`routelet status` names both",
    },
    {
      says: "Object has a problem",
      means: "`problem` says what is wrong with the object of `unit`; the rest of it is served",
    },
    {
      says: "Unit degraded",
      means: "the plugin's own code failed for this object; what it had in Linux stays",
      remedy: "please report it",
    },
    {
      says: "Plugin degraded",
      means: "something is wrong with the plugin as a whole: `reason`; it is tried again",
    },
    {
      says: "Plugin waits",
      means: "for what `reason` says; until then Linux stays as it is",
    },
    {
      says: "Plugin not started",
      means: "its setup or configuration failed for `reason`; the others go on",
    },
    {
      says: "More of the same",
      means: "a round had more than 20 warnings of one sort; `more` says how many",
      remedy: "`routelet status` has them",
    },
    {
      says: "No plugin is on; nothing is to be done",
      means: "all three functions are off, and no third party's plugin is in the folders",
    },
    {
      says: 'Plugin "…" is off, and … things of it stay in Linux as they are; …',
      code: [
        'Plugin "…" is off, and … things of it stay in Linux as they are; stop the agent and run …',
      ],
      means: "nobody looks after what it made before it was switched off",
    },
    {
      says: "Cannot watch Linux",
      code: [
        "Cannot watch Linux",
        "Cannot watch Linux; changes by others are found by full rounds only",
      ],
      means: "Linux's events cannot be received: repairs take up to `--ipvs-sync-period`",
    },
    {
      says: "Ownership ledger cannot be used as it is",
      means: "marks were lost, or are another boot's: what they marked is not touched any more",
      remedy: "where the agent wants the same, its status says conflict: remove those by hand",
    },
    {
      says: "Cannot remove what another backend left",
      means: "after a change of `--netfilter`; the rules of before still hold, beside the new ones",
      remedy: "mend `reason`, then restart the agent",
    },
    {
      says: "Established connections go on, though they may be denied",
      means: "conntrack cannot be read or changed; new connections are judged right",
      remedy: "`modprobe nf_conntrack_netlink`",
    },
    {
      says: "UDP clients may stay with endpoints that are gone",
      means: "the same for clients of a UDP Service",
      remedy: "`modprobe nf_conntrack_netlink`",
    },
    {
      says: "API server failed, trying again",
      means: "`error` is one of those above; the same is told once a minute",
    },
    {
      says: "Objects are not read: the agent goes on without them",
      means: "RBAC forbids an optional kind",
      remedy: "give the ClusterRole the rule, or nothing, if it is not needed",
    },
    {
      says: "Objects may be listed and not watched: changes are seen late",
      means: "RBAC allows no more of an optional kind, which is listed again, up to a minute apart",
      remedy: "give the ClusterRole the verb `watch`",
    },
    {
      says: "Object has a field of the wrong type, which is ignored",
      means: "`object`, `field` and `reason` name it",
    },
    {
      says: "Manifest cannot be read: …",
      code: ["Manifest cannot be read: …", "Object in a manifest is refused: …"],
      means: "`file`, `line` and `reason`; the last good state of its objects stays",
    },
    {
      says: "Manifests cannot be read: what was read stays",
      means: "the folder of `--manifests` went, or may not be read any more",
    },
    {
      says: "Plugin refused",
      means: "a third party's file may not run for `reason`: its owner, its rights, its name",
    },
    {
      says: "Options for a plugin that is not there",
      means: "`--plugin` names one of which there is no file: misspelt?",
    },
    {
      says: "Metric refused",
      means: "a third party's metric has a name, labels or a type that cannot be",
    },
    {
      says: "Cannot look for plugins",
      code: ["Cannot look for plugins", "Cannot look after plugins"],
      means: "a folder of `--plugins-dir` cannot be read; plugins that run go on",
    },
    {
      says: "Cannot remove what a plugin left",
      means: "its file is gone, and Linux refused to give up what it made; it is tried again",
    },
    {
      says: "BGP cannot start; it is tried again",
      means: "mostly a port that is taken: `reason`",
    },
    {
      says: "BGP cannot be configured",
      means: "the speaker refused its configuration; the one of before holds",
      remedy: "please report it",
    },
    {
      says: "BGP peers have announced so many prefixes that they fill this node's routing table: …",
      code: [
        "BGP peers have announced so many prefixes that they fill this node's routing table: let them announce less, or limit them with --bgp-max-prefixes",
      ],
      means: "a full feed, most likely by mistake",
    },
    {
      says: "A password cannot be set: the peer cannot connect to us",
      means: "Linux refused a TCP MD5 key for the listening socket; our own connections work",
    },
    {
      says: "A connection was not taken",
      means:
        "somebody who is no peer connected to the BGP port, or came twice; once for each address",
    },
    {
      says: "A BFD session cannot be started",
      code: ["A BFD session cannot be started", "The thread of BFD failed"],
      means: "failures of that peer are found by BGP's hold time alone",
    },
    {
      says: "A BGP socket reported an error",
      code: [
        "A BGP socket reported an error",
        "The speaker failed to read a message; the connection is cut",
      ],
      means: "one session ended and is opened again; its routes follow graceful restart",
    },
    {
      says: "The live page has no log-in: whoever reaches its port can read it",
      means: "`--ui-addr` names another address than loopback",
    },
    {
      says: "Stopped in the middle of something that does not end",
      code: [
        "Stopped in the middle of something that does not end",
        "Stopping in the middle of a round",
      ],
      means: "the agent ends all the same; its next start repairs what is half done",
    },
    {
      says: "Input failed",
      code: [
        "Input failed",
        "Input failed; all units are looked at",
        "Background task failed",
        "Subscriber of a store threw",
      ],
      means: "an error in a plugin's code, or in ours; the rest goes on",
      remedy: "please report it, with `reason`",
    },
  ],
};

export const OBJECTS: MessageSection = {
  title: "Problems of objects",
  introduction:
    "In `routelet status` as `problem`, and once in the log. The object is at fault; the rest of it is served. The commonest; each says what was done in place of it.",
  messages: [
    {
      says: 'Annotation … is "…"; allowed are …; … is taken',
      code: ['Annotation … is "…"; allowed are …; "rr" is taken'],
      means: "a value that [the annotation](annotations.md) does not have",
    },
    {
      says: 'External IP "…" is not served, since …',
      code: [],
      means: "outside of `--service-external-ip-range`, or of `--loadbalancer-ip-range`",
      remedy: "widen the range, or give the Service another address",
    },
    {
      says: 'Node "…" has no pod CIDR …',
      code: [],
      means: "the router makes no pod network on that node",
      remedy: "kube-controller-manager with `--allocate-node-cidrs`, or `--run-router=false`",
    },
    {
      says: "… wanted by … as well, but held by …, which is older; …",
      code: [],
      means: "two Services want one address and port; the older one has it",
    },
    {
      says: "… Linux holds …, which is not ours",
      code: [],
      means: "another program's: it is not touched",
      remedy: "[troubleshoot](../troubleshoot.md#nothing-is-served-at-all)",
    },
    {
      says: "Port … has target port …, and direct server return cannot change ports; …",
      code: [
        "Port … has target port …, and direct server return cannot change ports; it is served by NAT, make port and targetPort equal",
      ],
      means: "this port goes by NAT, the others directly",
    },
    {
      says: 'Source range "…" is not a CIDR; it admits no client, …',
      code: [
        'Source range "…" is not a CIDR; it admits no client, correct spec.loadBalancerSourceRanges',
      ],
      means: "the other ranges hold; with none left the address is closed",
    },
    {
      says: 'Refused …: plugin "…" holds it; let only one of them want it',
      means: "two plugins want the same thing of Linux",
    },
  ],
};
