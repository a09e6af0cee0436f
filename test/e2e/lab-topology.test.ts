import { describe, expect, test } from "bun:test";
import { ASK, PODS, TOPOLOGY } from "./lab-cluster.ts";
import { kernelBuilt, type LabPlace, passLab } from "./lab.ts";

const PROBES = `
while read -r id from to port protocol; do
  echo "{\\"id\\":\\"$id\\",\\"from\\":\\"$from\\",\\"to\\":\\"$to\\",\\"port\\":$port,\\"protocol\\":\\"$protocol\\",\\"timeoutMs\\":8000}"
done <<P | $LAB probe | jq -r '"\\(.id) \\(.answer // .result)"' | sort
bridge pod-default-a 10.244.1.11 80 TCP
nodes pod-default-a 10.244.2.10 80 TCP
subnets pod-default-a 10.244.3.10 80 TCP
udp pod-default-a 10.244.2.10 53 UDP
v6 pod-default-a fd00:244:2::10 80 TCP
v6-subnets pod-default-a fd00:244:3::10 80 TCP
v6-udp pod-default-a fd00:244:2::10 53 UDP
refused pod-default-a 10.244.2.10 81 TCP
refused-udp pod-default-a 10.244.2.10 81 UDP
unreachable pod-default-a 10.244.2.77 80 TCP
client client-outside 10.244.2.10 80 TCP
client-v6 client-outside fd00:244:3::10 80 TCP
node node-n1 10.244.3.10 80 TCP
unknown nobody 10.244.1.10 80 TCP
P
`;

const ANSWERS = `bridge default/b 10.244.1.11 10.244.1.10
client default/c 10.244.2.10 192.168.50.99
client-v6 default/d fd00:244:3::10 fd00:50::99
node default/d 10.244.3.10 192.168.50.11
nodes default/c 10.244.2.10 10.244.1.10
refused refused
refused-udp refused
subnets default/d 10.244.3.10 10.244.1.10
udp default/c 10.244.2.10 10.244.1.10
unknown error
unreachable unreachable
v6 default/c fd00:244:2::10 fd00:244:1::10
v6-subnets default/d fd00:244:3::10 fd00:244:1::10
v6-udp default/c fd00:244:2::10 fd00:244:1::10
`;

const PLACES: readonly (readonly [string, LabPlace, boolean])[] = [
  ["namespaces of the host", "host", process.getuid?.() === 0],
  ["Debian's user-mode Linux", "uml", true],
  ["the lab's own kernel", "kernel", kernelBuilt],
];

describe("every place comes up with the topology's pods, nodes and clients", () => {
  for (const [name, place, there] of PLACES) {
    const run = there ? test : test.skip;
    run(`${name}${there ? "" : " (left out: not on this machine)"}`, async () => {
      const files = { "pods.yaml": PODS };
      const { stdout } = await passLab({ topology: TOPOLOGY, files, script: PROBES, place });
      expect(stdout).toBe(ANSWERS);
    });
  }
});

const own = kernelBuilt ? test : test.skip;
own(
  "the lab's own kernel has IPVS, nf_tables, both iptables, ipset, dummy, IPIP and SCTP",
  async () => {
    const { stdout } = await passLab({
      topology: TOPOLOGY,
      files: { "pods.yaml": PODS },
      place: "kernel",
      script: `${ASK}
      on() { $LAB exec node-n1 "$@" >/dev/null || echo "failed: $*"; }
      on ipvsadm -A -t 10.96.0.1:80 -s mh
      on nft add table inet x
      on nft add chain inet x y '{ type filter hook forward priority 0; }'
      on iptables-nft -t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE --random-fully
      on ipset create s hash:ip,port
      on ipset create s6 hash:net family inet6
      on ip6tables-nft -A FORWARD -m set --match-set s6 src -j ACCEPT
      on ip6tables-legacy -A FORWARD -m set --match-set s6 src -j ACCEPT
      on iptables-legacy -A FORWARD -m set --match-set s src,dst -j NFLOG
      on ip link add kube-dummy-if type dummy
      on ip link add tun-x type ipip local 192.168.50.11 remote 192.168.50.12 encap fou encap-sport auto encap-dport 5555
      on tc qdisc add dev eth0 root netem delay 1ms
      ask pod-default-a 10.244.2.10 99 SCTP
    `,
    });
    expect(stdout).toBe(
      "default/c 10.244.2.10 10.244.1.10\n",
    );
  },
);

test("a silent address is a timeout, a port that drops UDP locally is refused", async () => {
  const { stdout } = await passLab({
    topology: TOPOLOGY,
    files: { "pods.yaml": PODS },
    script: `${ASK}
      $LAB exec pod-default-c iptables -A INPUT -p tcp --dport 80 -j DROP
      $LAB exec pod-default-a iptables -A OUTPUT -p udp --dport 53 -j DROP
      $LAB exec pod-default-d iptables -A INPUT -p tcp --dport 80 -j REJECT --reject-with icmp-host-unreachable
      ask pod-default-a 10.244.2.10 80 TCP 300
      ask pod-default-a 10.244.2.10 53 UDP 300
      ask pod-default-a 10.244.3.10 80
    `,
  });
  expect(stdout).toBe("timeout\nrefused\nunreachable\n");
});

test("the script sees its environment, exec passes everything on, and HTTP is answered", async () => {
  const { stdout, read } = await passLab({
    topology: TOPOLOGY,
    files: { "pods.yaml": PODS },
    env: { MINE: "passed on" },
    script: `
      echo "$LAB_NODES|$LAB_PODS|$LAB_CLIENTS|$LAB_ROUTERS|$MINE"
      echo "kept" >$LAB_OUT/note
      echo in | $LAB exec node-n1 sh -c 'cat; echo err >&2; exit 7' 2>&1 || echo "status $?"
      $LAB exec node-n2 hostname
      $LAB exec nobody true || echo "unknown $?"
      $LAB exec pod-default-a curl -s http://10.244.2.10/
      $LAB exec node-n1 sh -c 'echo node >/etc/cni/net.d/x; ls /sys/class/net | grep -c kube-bridge'
      $LAB exec node-n2 sh -c 'ls /etc/cni/net.d | wc -l'
      curl -s -H "Authorization: Bearer $LAB_TOKEN" $LAB_API/api/v1/nodes | jq -r '.items[].metadata.name' | tr '\\n' ' '
      $LAB exec node-n3 curl -sk -o /dev/null -w '%{http_code}\\n' https://192.168.60.254:6443/api/v1/nodes
      $LAB exec node-n1 cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables | tr '\\n' ' '
      echo gone >/etc/hostname
    `,
  });
  expect(stdout).toBe(`n1 n2 n3|default-a default-b default-c default-d|outside||passed on
in
err
status 7
n2
unknown 125
default/c 10.244.2.10 10.244.1.10
1
0
n1 n2 n3 401
1 0 `);
  expect(read("note")).toBe("kept\n");
});
