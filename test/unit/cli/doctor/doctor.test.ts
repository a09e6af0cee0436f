import { describe, expect, test } from "bun:test";
import type { ApiWrite } from "../../../../src/kernel/cluster/cluster-api.ts";
import type { KindName } from "../../../../src/kernel/cluster/kinds.ts";
import { agentFindings } from "../../../../src/cli/doctor/agent-checks.ts";
import type { ApiAnswer } from "../../../../src/cli/doctor/api.ts";
import { apiFindings } from "../../../../src/cli/doctor/api-checks.ts";
import type { Finding } from "../../../../src/cli/doctor/findings.ts";
import { chainsIn, type DoctorHost } from "../../../../src/cli/doctor/host.ts";
import { linuxFindings, type Runs } from "../../../../src/cli/doctor/linux-checks.ts";
import { doctorText } from "../../../../src/cli/doctor/mod.ts";
import { defaultFlags } from "../../../../src/cli/flags.ts";

const ALL: Runs = { proxy: true, router: true, firewall: true, netfilter: "iptables" };

const FILES: Readonly<Record<string, string>> = {
  "/proc/modules": "",
  "/proc/sys/net/ipv4/vs": "",
  "/sys/module/dummy": "",
  "/proc/sys/net/bridge": "",
  "/proc/sys/net/netfilter/nf_conntrack_max": "1000\n",
  "/proc/sys/net/netfilter/nf_conntrack_count": "10\n",
  "/proc/sys/net/ipv4/conf/all/rp_filter": "0\n",
  "/sys/module/ip_set": "",
  "/sys/module/ipip": "",
  "/run/systemd/timesync/synchronized": "",
  "/etc/cni/net.d/10-kuberouter.conflist": "{}",
  "/opt/cni/bin/bridge": "",
  "/opt/cni/bin/host-local": "",
};

function link(name: string, changes: Partial<DoctorHost["links"][number]> = {}) {
  return { index: 1, name, type: "", up: true, mtu: 1500, alias: "", ...changes };
}

function host(
  files: Readonly<Record<string, string | undefined>> = {},
  changes: Partial<DoctorHost> = {},
): DoctorHost {
  const all: Readonly<Record<string, string | undefined>> = { ...FILES, ...files };
  return {
    isRoot: true,
    release: "6.1.0",
    read: (path) => all[path],
    exists: (path) => all[path] !== undefined,
    list: (path) =>
      Object.keys(all).filter((each) => each.startsWith(`${path}/`) && all[each] !== undefined)
        .map((each) => each.slice(path.length + 1)).toSorted(),
    processes: [],
    links: [link("eth0"), link("kube-bridge", { type: "bridge" })],
    addresses: [{ link: "eth0", address: "192.168.1.10" }],
    chains: [],
    nftTables: [],
    iptables: "nft",
    ...changes,
  };
}

function grades(findings: readonly Finding[], ...wanted: readonly Finding["grade"][]) {
  return findings.filter(({ grade }) => wanted.includes(grade)).map(({ id, grade }) =>
    `${grade} ${id}`
  );
}

const linux = (files = {}, changes = {}, runs = ALL) =>
  linuxFindings(host(files, changes), defaultFlags(), runs);
const agents = (files = {}, changes = {}, runs = ALL) =>
  agentFindings(host(files, changes), defaultFlags(), runs);

test("a host that has all is good", () => {
  expect(grades([...linux(), ...agents()], "fail", "warn")).toEqual([]);
});

test("each finding that is not good has a remedy, and no other has one", () => {
  const findings = [
    ...linux({ "/proc/sys/net/ipv4/vs": undefined }, { isRoot: false, iptables: undefined }),
    ...agents({}, { processes: [{ pid: 7, name: "kube-proxy" }] }),
  ];
  for (const { grade, fix } of findings) {
    expect(fix !== undefined).toBe(grade === "fail" || grade === "warn");
  }
});

describe("modules", () => {
  test("one that is missing fails, one that can be loaded does not", () => {
    const gone = { "/proc/sys/net/ipv4/vs": undefined };
    expect(grades(linux(gone), "fail")).toEqual(["fail kernel/ip_vs"]);
    const dep = {
      ...gone,
      "/lib/modules/6.1.0/modules.dep": "kernel/net/netfilter/ipvs/ip_vs.ko.xz:\n",
    };
    expect(grades(linux(dep), "warn")).toEqual(["warn kernel/ip_vs"]);
    expect(grades(linux({ ...dep, "/sbin/modprobe": "" }), "warn", "fail")).toEqual([]);
    const builtIn = {
      ...gone,
      "/lib/modules/6.1.0/modules.builtin": "kernel/net/netfilter/ipvs/ip_vs.ko\n",
    };
    expect(grades(linux(builtIn), "warn", "fail")).toEqual([]);
  });

  test("those of plugins that do not run are not asked for", () => {
    const nothing = { "/proc/sys/net/ipv4/vs": undefined, "/sys/module/dummy": undefined };
    expect(grades(linux(nothing, {}, { ...ALL, proxy: false }), "fail")).toEqual([]);
  });
});

test("the iptables backend without iptables fails", () => {
  expect(grades(linux({}, { iptables: undefined }), "fail")).toEqual(["fail netfilter"]);
});

test("strict reverse paths, sysctl files against us and a full conntrack are warned of", () => {
  expect(grades(
    linux({
      "/proc/sys/net/ipv4/conf/all/rp_filter": "1\n",
      "/etc/sysctl.d/99-hard.conf": "# none\nnet.ipv4.ip_forward = 0\n",
      "/proc/sys/net/netfilter/nf_conntrack_count": "900\n",
    }),
    "warn",
  )).toEqual(["warn sysctl/rp_filter", "warn sysctl/files", "warn conntrack"]);
});

test("a pod bridge that is larger than the uplink is warned of, with the tunnel's header", () => {
  const links = [link("eth0"), link("kube-bridge", { type: "bridge" }), link("tun-0a1b2c")];
  expect(grades(linux({}, { links }), "warn")).toEqual(["warn mtu"]);
  const smaller = links.map((each) => each.name === "kube-bridge" ? { ...each, mtu: 1480 } : each);
  expect(grades(linux({}, { links: smaller }), "warn")).toEqual([]);
});

test("other agents fail only where they meet a plugin that runs", () => {
  const processes = [{ pid: 7, name: "kube-proxy" }, { pid: 8, name: "bird" }];
  expect(grades(agents({}, { processes }), "fail")).toEqual([
    "fail agents/kube-proxy",
    "fail agents/bird",
  ]);
  expect(grades(agents({}, { processes }, { ...ALL, router: false }), "fail"))
    .toEqual(["fail agents/kube-proxy"]);
});

test("what other agents left is named", () => {
  const left = agents({}, {
    chains: [{ table: "nat", chain: "KUBE-SERVICES" }, {
      table: "filter",
      chain: "KUBE-ROUTER-INPUT",
    }],
    links: [link("kube-ipvs0"), link("kube-dummy-if"), link("cilium_host")],
    nftTables: [{ family: "ip", name: "kube-proxy" }, { family: "ip", name: "routelet" }],
  });
  expect(left.filter(({ grade }) => grade === "warn").map(({ text }) => text)).toEqual([
    "kube-proxy left 1 chains KUBE-…, link kube-ipvs0, nft table ip kube-proxy",
    "kube-router left link kube-dummy-if without our mark",
    "Cilium left link cilium_host",
  ]);
  const ours = [link("kube-dummy-if", { alias: "routelet:proxy" })];
  expect(grades(agents({}, { links: ours }), "warn")).toEqual([]);
});

test("a CNI configuration that comes before ours is warned of, a missing one fails", () => {
  expect(grades(agents({ "/etc/cni/net.d/05-calico.conflist": "{}" }), "warn")).toEqual([
    "warn cni/conf",
  ]);
  const none = {
    "/etc/cni/net.d/10-kuberouter.conflist": undefined,
    "/opt/cni/bin/bridge": undefined,
  };
  expect(grades(agents(none), "fail")).toEqual(["fail cni/conf", "fail cni/plugins"]);
});

describe("the API server", () => {
  const NODE = {
    spec: { podCIDR: "10.244.1.0/24" },
    status: { addresses: [{ type: "InternalIP", address: "192.168.1.10" }] },
  };
  const NOW = Date.UTC(2026, 0, 1);

  function ask(
    answers: Readonly<Record<string, Partial<ApiAnswer> | Error>>,
    now = NOW,
    kind: KindName = "services",
    writes: readonly ApiWrite[] = [],
  ) {
    return apiFindings({
      api: {
        server: "https://api",
        ask(path, body) {
          const asked = (body as { spec?: { resourceAttributes?: Asked } } | undefined)
            ?.spec?.resourceAttributes;
          const words = asked === undefined ? [path] : [path, asked.verb];
          if (asked?.subresource !== undefined) words.push(asked.resource, asked.subresource);
          if (asked?.namespace !== undefined) words.push("in", asked.namespace);
          const answer = answers[words.join(" ")] ?? { status: 404 };
          if (answer instanceof Error) return Promise.reject(answer);
          return Promise.resolve({ status: 200, body: undefined, ms: 3, date: NOW, ...answer });
        },
      },
      kinds: [kind],
      writes,
      leaseNamespace: "net",
      node: "node1",
      host: host(),
      needsPodCIDRs: true,
      now: () => now,
    });
  }
  interface Asked {
    readonly verb: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
  }
  const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const may = (allowed: boolean) => ({ status: 201, body: { status: { allowed } } });
  const GOOD = {
    "/version": { body: { gitVersion: "v1.34.0" } },
    [`${REVIEWS} list`]: may(true),
    [`${REVIEWS} watch`]: may(true),
    "/api/v1/nodes/node1": { body: NODE },
  };

  test("that lets us do all is good", async () => {
    expect(grades(await ask(GOOD), "fail", "warn")).toEqual([]);
  });

  test("that cannot be reached is one finding, with the client's reason", async () => {
    const findings = await ask({ "/version": new Error("connection refused") });
    expect(findings.map(({ id, text }) => [id, text])).toEqual([[
      "api/reach",
      "connection refused",
    ]]);
  });

  test("that forbids something fails with the rule that is missing", async () => {
    const findings = await ask({ ...GOOD, [`${REVIEWS} watch`]: may(false) });
    expect(findings.find(({ grade }) => grade === "fail")).toEqual({
      id: "rbac/services",
      grade: "fail",
      text: "may not watch services",
      fix: 'give the ClusterRole a rule: apiGroups: [""], resources: [services], verbs: [watch]',
    });
  });

  test("without access reviews is asked for a list", async () => {
    const { [`${REVIEWS} list`]: _, ...rest } = GOOD;
    expect(grades(await ask({ ...rest, "/api/v1/services?limit=1": {} }), "fail")).toEqual([]);
    expect(grades(await ask({ ...rest, "/api/v1/services?limit=1": { status: 403 } }), "fail"))
      .toEqual(["fail rbac/services"]);
  });

  test("may lack what is optional, or forbid it with a warning", async () => {
    const { [`${REVIEWS} list`]: _, ...rest } = GOOD;
    const list = "/apis/networking.k8s.io/v1/servicecidrs?limit=1";
    expect(grades(await ask(rest, NOW, "servicecidrs"), "fail", "warn")).toEqual([]);
    expect(
      grades(await ask({ ...rest, [list]: { status: 403 } }, NOW, "servicecidrs"), "fail", "warn"),
    )
      .toEqual(["warn rbac/servicecidrs"]);
  });

  const WRITES: readonly ApiWrite[] = ["services/status", "events", "leases"];
  const WRITABLE = {
    ...GOOD,
    [`${REVIEWS} get`]: may(true),
    [`${REVIEWS} patch services status`]: may(true),
    [`${REVIEWS} create`]: may(true),
    [`${REVIEWS} get in net`]: may(true),
    [`${REVIEWS} create in net`]: may(true),
    [`${REVIEWS} update in net`]: may(true),
  };

  test("that lets us write what plugins write is good, and asked for nothing else", async () => {
    const findings = await ask(WRITABLE, NOW, "services", WRITES);
    expect(
      findings.filter(({ id }) => id.startsWith("rbac/")).map(({ grade, text }) => [
        grade,
        text,
      ]),
    ).toEqual([
      ["ok", "may list and watch services"],
      ["ok", "may get services and patch services/status"],
      ["ok", "may create events"],
      ["ok", 'may get, create, update leases in namespace "net"'],
    ]);
  });

  test("that forbids a write says which rule is missing, and where", async () => {
    const answers = {
      ...WRITABLE,
      [`${REVIEWS} patch services status`]: may(false),
      [`${REVIEWS} create`]: may(false),
      [`${REVIEWS} update in net`]: may(false),
    };
    const findings = await ask(answers, NOW, "services", WRITES);
    expect(findings.filter(({ fix }) => fix !== undefined)).toEqual([
      {
        id: "rbac/services/status",
        grade: "fail",
        text: "may not patch services/status",
        fix:
          'give the ClusterRole a rule: apiGroups: [""], resources: [services/status], verbs: [patch]',
      },
      {
        id: "rbac/events",
        grade: "warn",
        text: "may not create events",
        fix: 'give the ClusterRole a rule: apiGroups: [""], resources: [events], verbs: [create]',
      },
      {
        id: "rbac/leases",
        grade: "fail",
        text: 'may not update leases in namespace "net"',
        fix:
          'give the Role in namespace "net" a rule: apiGroups: [coordination.k8s.io], resources: [leases], verbs: [update]',
      },
    ]);
  });

  test("without access reviews cannot say what may be written", async () => {
    const findings = await ask({ ...GOOD }, NOW, "services", ["events"]);
    expect(findings.find(({ id }) => id === "rbac/events")?.grade).toBe("skip");
  });

  test("whose clock is another warns, then fails", async () => {
    expect(grades(await ask(GOOD, NOW + 10_000), "warn")).toEqual(["warn clock/api"]);
    expect(grades(await ask(GOOD, NOW - 100_000), "fail")).toEqual(["fail clock/api"]);
  });

  test("without our Node, or with another host's, says so", async () => {
    expect(grades(await ask({ ...GOOD, "/api/v1/nodes/node1": { status: 404 } }), "fail"))
      .toEqual(["fail node/object"]);
    const other = {
      body: { status: { addresses: [{ type: "InternalIP", address: "192.168.1.99" }] } },
    };
    expect(grades(await ask({ ...GOOD, "/api/v1/nodes/node1": other }), "fail", "warn"))
      .toEqual(["warn node/object", "fail node/podCIDRs"]);
  });
});

test("chainsIn() reads what iptables-save prints", () => {
  expect(
    chainsIn(
      "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n*filter\n:INPUT ACCEPT\n",
    ),
  )
    .toEqual([
      { table: "nat", chain: "PREROUTING" },
      { table: "nat", chain: "KUBE-SERVICES" },
      { table: "filter", chain: "INPUT" },
    ]);
});

test("doctorText() has a line a check, remedies below, and counts", () => {
  expect(doctorText([
    { id: "a", grade: "ok", text: "good" },
    { id: "long", grade: "fail", text: "bad", fix: "mend it" },
  ])).toBe(
    "ok    a     good\nFAIL  long  bad\n            fix: mend it\n1 good, 0 to look at, 1 to mend\n",
  );
});
