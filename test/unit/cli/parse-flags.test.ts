import { describe, expect, test } from "bun:test";
import type { Flags } from "../../../src/cli/flags.ts";
import { parseFlags, UsageError } from "../../../src/cli/parse-flags.ts";
import { describeGiven, startWarnings } from "../../../src/cli/validate-flags.ts";

/** The problems of a line that is refused. */
function problems(...args: string[]): readonly string[] {
  try {
    parseFlags(args);
  } catch (error) {
    if (error instanceof UsageError) return error.problems;
    throw error;
  }
  return [];
}

function flags(...args: string[]): Flags {
  return parseFlags(args).flags;
}

describe("parseFlags() reads words as pflag does", () => {
  test("a value may follow after = or as the next word", () => {
    expect(flags("--hostname-override=a").hostnameOverride).toBe("a");
    expect(flags("--hostname-override", "a").hostnameOverride).toBe("a");
    expect(flags("--hostname-override=").hostnameOverride).toBe("");
    expect(flags("--hostname-override", "-a=b").hostnameOverride).toBe("-a=b");
    expect(flags("--hostname-override", "--").hostnameOverride).toBe("--");
  });

  test("a switch stands alone or takes =, never the next word", () => {
    expect(flags("--masquerade-all").masqueradeAll).toBe(true);
    expect(flags("--run-router=false").runRouter).toBe(false);
    expect(flags("--run-router=F").runRouter).toBe(false);
    expect(flags("--run-router=0").runRouter).toBe(false);
    const line = parseFlags(["--run-router", "false"]);
    expect(line.flags.runRouter).toBe(true);
    expect(line.positionals).toEqual(["false"]);
  });

  test("letters take their value at once, after = or as the next word, and can be grouped", () => {
    expect(flags("-v3").v).toBe(3);
    expect(flags("-v=3").v).toBe(3);
    expect(flags("-v", "3").v).toBe(3);
    expect(flags("--v=3").v).toBe(3);
    expect(flags("--v", "-1").v).toBe(-1);
    expect(flags("-hVv4")).toMatchObject({ help: true, version: true, v: 4 });
    expect(flags("-V=false", "-h=true")).toMatchObject({ version: false, help: true });
  });

  test("flags and other words come in any order, and -- ends the flags", () => {
    const line = parseFlags(["-v1", "plan", "--output", "json", "--", "--help"]);
    expect(line.positionals).toEqual(["plan", "--help"]);
    expect(line.flags.output).toBe("json");
    expect(line.flags.help).toBe(false);
  });

  test("a flag given twice keeps the last value, a list adds up and replaces its default", () => {
    expect(flags("--metrics-port=1", "--metrics-port=2").metricsPort).toBe(2);
    expect(
      flags("--excluded-cidrs=10.0.0.0/8,10.1.2.3/16", "--excluded-cidrs", "fd00::/8")
        .excludedCidrs,
    )
      .toEqual(["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"]);
    expect(flags("--service-cluster-ip-range=10.254.0.0/16").serviceClusterIpRange)
      .toEqual(["10.254.0.0/16"]);
    expect(flags().serviceClusterIpRange).toEqual(["10.96.0.0/12"]);
  });

  test("lists take quotes, blanks and nothing", () => {
    const line = flags(
      '--peer-router-ips="10.0.0.1, 10.0.0.2"',
      "--peer-router-asns= 64513 ,'64514'",
    );
    expect(line.peerRouterIps).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(line.peerRouterAsns).toEqual([64513, 64514]);
    expect(flags("--excluded-cidrs=").excludedCidrs).toEqual([]);
  });

  test("addresses and CIDRs come out in one spelling", () => {
    const line = flags(
      "--peer-router-ips=::ffff:10.0.0.1,FD00:0::1,010.001.002.003",
      "--peer-router-asns=1,2,3",
      "--excluded-cidrs=10.9.8.7/8",
    );
    expect(line.peerRouterIps).toEqual(["10.0.0.1", "fd00::1", "10.1.2.3"]);
    expect(line.excludedCidrs).toEqual(["10.0.0.0/8"]);
  });

  test("numbers take what Go takes", () => {
    expect(flags("--metrics-port=0x1F90").metricsPort).toBe(8080);
    expect(flags("--cluster-asn=4_200_000_000").clusterAsn).toBe(4200000000);
  });

  test("plugin options keep commas and equal signs and gather by plugin", () => {
    const line = flags("--plugin", "a.x=1,2", "--plugin=a.y=b=c", "--plugin=b-c.z=");
    expect(line.plugin).toEqual({ a: { x: "1,2", y: "b=c" }, "b-c": { z: "" } });
  });

  test("port ranges take both separators", () => {
    expect(flags("--service-node-port-range=1000:2000").serviceNodePortRange)
      .toEqual({ from: 1000, to: 2000 });
    expect(flags("--service-node-port-range=1000-2000").serviceNodePortRange)
      .toEqual({ from: 1000, to: 2000 });
  });

  test("given names each flag once in the order of the line", () => {
    expect(flags("-v1", "--masquerade-all", "-v2").given).toEqual(["v", "masquerade-all"]);
  });
});

describe("parseFlags() refuses", () => {
  test.each([
    ["--bgp-holdtim=5s", 'Unknown flag "--bgp-holdtim"; did you mean "--bgp-holdtime"'],
    ["--something-else", 'Unknown flag "--something-else"'],
    ["--no-run-router", 'Unknown flag "--no-run-router"; did you mean "--run-router=false"'],
    ["-kubeconfig=/x", 'Unknown flag "-kubeconfig=/x"; did you mean "--kubeconfig"'],
    ["-q", 'Unknown flag "-q"'],
    ["---v", 'Unknown flag "---v"'],
    ["--__proto__=1", 'Unknown flag "--__proto__"'],
    ["--constructor=1", 'Unknown flag "--constructor"'],
  ])("%s", (word, problem) => {
    expect(problems(word)).toEqual([problem]);
  });

  test("a missing value", () => {
    expect(problems("--ipvs-sync-period")).toEqual([
      'Flag --ipvs-sync-period needs a value: a duration such as "300ms", "30s", "5m0s" or "1h30m" (units ns, us, ms, s, m, h)',
    ]);
  });

  test.each([
    ["--ipvs-sync-period=5", "duration"],
    ["--ipvs-sync-period=5 m", "duration"],
    ["--ipvs-sync-period=0", "above 0"],
    ["--ipvs-sync-period=-5s", "above 0"],
    ["--ipvs-graceful-period=-1s", "0 or more"],
    ["--run-router=yes", "true or false"],
    ["--metrics-port=65536", "from 0 to 65535"],
    ["--metrics-port=-1", "from 0 to 65535"],
    ["--metrics-port=1.5", "from 0 to 65535"],
    ["--metrics-port=", "from 0 to 65535"],
    ["--excluded-cidrs=10.0.0.0", "CIDR"],
    ["--excluded-cidrs=10.0.0.0/33", "CIDR"],
    ["--peer-router-ips=10.0.0", "IP addresses"],
    ["--overlay-encap=vxlan", '"ipip", "fou"'],
    ["--overlay-type=none", '"subnet", "full"'],
    ["--overlay-encap-port=1023", "from 1024"],
    ["--vip-binding=x", '"auto", "address", "route"'],
    ["--cluster-asn=64511", "private AS number"],
    ["--bgp-holdtime=2s", "from 3s to 18h12m16s"],
    ["--service-node-port-range=30000", "two ports"],
    ["--service-node-port-range=2-1", "two ports"],
    ["--service-node-port-range=1-65536", "two ports"],
    ["--router-id=abc", 'IPv4 address or "generate"'],
    ["--runtime-endpoint=tcp://x", "unix:///"],
    ["--master=10.0.0.1:6443", "URL"],
    ["--metrics-path=metrics", "path"],
    ["--health-addr=1.2.3.4/5", "address without port"],
    ["--plugin=x=1", "NAME.key=value"],
    ["--v=abc", "whole number"],
    ["--runtime-dir=x", "absolute path"],
  ])("%s, and says what is allowed", (word, allowed) => {
    const [problem = "", ...more] = problems(word);
    expect(more).toEqual([]);
    const [name = "", value = ""] = [
      word.slice(0, word.indexOf("=")),
      word.slice(word.indexOf("=") + 1),
    ];
    expect(problem).toStartWith(`Flag ${name} cannot be "`);
    expect(problem).toContain(`"${value === "0" ? "0s" : value}"`);
    expect(problem).toContain(allowed);
  });

  test("the item of a list that is wrong, by name", () => {
    expect(problems("--peer-router-ips=10.0.0.1,x")[0]).toEndWith('("x" is not)');
  });

  test("passwords without showing them", () => {
    const [problem = ""] = problems("--peer-router-passwords=hunter2!");
    expect(problem).toContain("--peer-router-passwords");
    expect(problem).toContain("base64");
    expect(problem).not.toContain("hunter2");
  });

  test("with one line for each problem of the command line", () => {
    expect(problems("--bogus-thing", "--v=x", "--metrics-port", "99999").length).toBe(3);
  });
});

describe("flags that do not fit together are refused", () => {
  const peer = "--peer-router-ips=10.0.0.1,10.0.0.2";
  test.each([
    [["--enable-ipv4=false"], "cannot both be false"],
    [
      ["--enable-ipv4=false", "--enable-ipv6"],
      'IPv4 CIDR "10.96.0.0/12" while --enable-ipv4=false',
    ],
    [["--service-cluster-ip-range=fd00::/112"], "while --enable-ipv6=false"],
    [["--service-external-ip-range=fd00::/64"], "--service-external-ip-range"],
    [["--loadbalancer-ip-range=fd00::/64"], "--loadbalancer-ip-range"],
    [["--service-cluster-ip-range="], "one or two CIDRs"],
    [
      ["--enable-ipv6", "--service-cluster-ip-range=10.0.0.0/16,fd00::/112,10.1.0.0/16"],
      "one or two CIDRs",
    ],
    [["--service-cluster-ip-range=10.0.0.0/16,10.1.0.0/16"], "one IPv4 and one IPv6"],
    [["--manifests=/x", "--kubeconfig=/y"], "--manifests and --kubeconfig"],
    [["--manifests=/x", "--master=http://y"], "--manifests and --master"],
    [["--run-loadbalancer", "--manifests=/x"], "--run-loadbalancer and --manifests"],
    [
      ["--run-loadbalancer", "--loadbalancer-ip-range=10.97.0.0/16"],
      'overlaps the cluster IPs of --service-cluster-ip-range "10.96.0.0/12"',
    ],
    [["--run-loadbalancer", "--loadbalancer-ip-range=10.0.0.0/8"], 'cannot hold "10.0.0.0/8"'],
    [["--netfilter=iptables", "--use-nftables-for-netpol"], "contradict each other"],
    [["--bgp-graceful-restart", "--bgp-graceful-restart-time=4096s"], "up to 1h8m15s"],
    [["--bgp-graceful-restart", "--bgp-graceful-restart-deferral-time=0s"], "above 0"],
    [[peer], "--peer-router-asns has 0 values for 2"],
    [[peer, "--peer-router-asns=64513"], "--peer-router-asns has 1 values for 2"],
    [["--peer-router-asns=64513"], "--peer-router-asns has 1 values for 0"],
    [[peer, "--peer-router-asns=64513,64513", "--peer-router-ports=179"], "none or one each"],
    [[peer, "--peer-router-asns=64513,64513", "--peer-router-passwords=YQ=="], "none or one each"],
    [[peer, "--peer-router-asns=64513,23456"], "23456"],
    [["--peer-router-ips=10.0.0.1,10.0.0.1", "--peer-router-asns=1,1"], "twice"],
  ])("%j", (args, text) => {
    const found = problems(...args);
    expect(found.length).toBe(1);
    expect(found[0]).toContain(text);
  });

  test("and those that fit are taken", () => {
    expect(problems("--bgp-graceful-restart-time=0s")).toEqual([]);
    expect(problems(
      "--enable-ipv6",
      "--enable-ipv4=false",
      "--service-cluster-ip-range=fd00::/112",
    )).toEqual([]);
    expect(problems(peer, "--peer-router-asns=64513,1", "--peer-router-passwords=,YQ==")).toEqual(
      [],
    );
    // What the user's data-centre report runs with.
    expect(problems(
      "--cluster-asn=64512",
      "--peer-router-ips=10.129.6.91,10.129.6.92",
      "--peer-router-asns=64513,64513",
      "--advertise-cluster-ip",
      "--advertise-external-ip",
    )).toEqual([]);
  });
});

describe("startWarnings()", () => {
  test("says nothing of flags that are served, or not given", () => {
    expect(startWarnings(flags())).toEqual([]);
    expect(startWarnings(flags("--masquerade-all", "-v2"))).toEqual([]);
  });

  test("names the replacement of each dropped flag", () => {
    const warnings = startWarnings(
      flags("--cluster-cidr=10.0.0.0/8", "--config-sync-period=1m"),
    );
    expect(warnings.length).toBe(2);
    expect(warnings[0]).toContain("--cluster-cidr is ignored: pod CIDRs come from each node");
    expect(warnings[1]).toContain("--ipvs-sync-period");
  });

  test("says where a flag does less than with kube-router, unless it is off", () => {
    const [warning, ...more] = startWarnings(flags("--disable-source-dest-check"));
    expect(more).toEqual([]);
    expect(warning).toStartWith(
      "Flag --disable-source-dest-check does not do all of it: it calls no cloud",
    );
    expect(startWarnings(flags("--disable-source-dest-check=false"))).toEqual([]);
  });

  test("lists what this version does not serve in one warning, but not a switch that is off", () => {
    const given = flags("--enable-pprof", "--disable-source-dest-check=false");
    expect(startWarnings(given)).toEqual([
      "Flags without effect in this version: --enable-pprof",
    ]);
  });

  test("says that an allocator without ranges gives nothing", () => {
    expect(startWarnings(flags("--run-loadbalancer"))).toEqual([
      "Flag --run-loadbalancer gives no Service an address without --loadbalancer-ip-range; give it ranges",
    ]);
    const given = ["--run-loadbalancer", "--loadbalancer-ip-range=10.9.0.0/24"];
    expect(startWarnings(flags(...given))).toEqual([]);
  });

  test("says nothing of a value that is what happens anyway", () => {
    expect(startWarnings(flags("--netfilter=iptables", "--plugins-dir="))).toEqual([]);
  });
});

test("describeGiven() shows what was given and hides passwords", () => {
  const given = flags(
    "--ipvs-sync-period=90s",
    "--peer-router-ips=10.0.0.1",
    "--peer-router-asns=1",
    "--peer-router-passwords=c2VjcmV0",
  );
  expect(describeGiven(given)).toEqual({
    "ipvs-sync-period": "1m30s",
    "peer-router-ips": "10.0.0.1",
    "peer-router-asns": "1",
    "peer-router-passwords": "***",
  });
});
