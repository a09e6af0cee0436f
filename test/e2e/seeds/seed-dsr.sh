#!/usr/bin/env bash
# Direct server return: external IPs by IPIP and IP6IP6 into the pods, which answer clients themselves.
. "$(dirname "$0")/lib.sh"

# Rules of two families on two nodes take their time on a busy machine.
settle() { $LAB wait 100 >/dev/null || fail "the agents did not settle" ""; }

EXT4=10.33.1.11 EXT6=fd00:33::11
NEAR="default/near" FAR="default/far"

service() { # service ANNOTATIONS [POLICY [TARGETPORT]]
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default, annotations: { $1 } }
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  clusterIP: 10.254.9.9
  clusterIPs: [10.254.9.9, "fd00:254::9"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [$EXT4, "$EXT6"]
  externalTrafficPolicy: ${2:-Cluster}
  selector: { app: web }
  ports: [{ port: 8080, targetPort: ${3:-8080} }]
YAML
  settle
}
DSR="kube-router.io/service.dsr: tunnel"

mark_of() { # mark_of ADDRESS: FNV-1a of "ADDRESS-tcp-8080", its lower 14 bits
  python3 -c '
import sys
h = 0x811c9dc5
for byte in f"{sys.argv[1]}-tcp-8080".encode(): h = (h ^ byte) * 0x01000193 & 0xffffffff
print(h & 0x3fff)' "$1"
}
MARK4=$(mark_of $EXT4) MARK6=$(mark_of $EXT6)

fwm() { # fwm NODE MARK: its lines in IPVS, without counters
  ipvs_service "$1" "FWM $2"
}

stat() { # stat DESTINATION FIELD: a counter of a destination on node1 (3 connections, 4 packets in, 5 out)
  $LAB exec node-node1 ipvsadm -Ln --stats --exact | awk -v d="$1" -v f="$2" '
    /^FWM/ { fwm = 1 } /^(TCP|UDP|SCTP) / { fwm = 0 } fwm && $1 == "->" && $2 == d { print $f }'
}

in_pods() { # in_pods: what is ours in the pods
  local pod
  for pod in near far; do
    $LAB exec pod-default-$pod ip -o addr show | awk -v pod=$pod '$2 ~ /^kube-tunnel/ && $4 !~ /^fe80/ { print pod, $2, $4 }'
  done | sort
}

on_nodes() { # on_nodes: what direct server return leaves on nodes; nothing when it is off
  local node
  for node in node1 node2; do
    $LAB exec node-$node ipvsadm -Ln | grep -E '^FWM|Tunnel'
    $LAB exec node-$node ip rule | grep 'lookup 78'
    $LAB exec node-$node ip -6 rule | grep 'lookup 78'
    $LAB exec node-$node ip route show table 78 2>/dev/null
    $LAB exec node-$node ip -6 route show table 78 2>/dev/null
    $LAB exec node-$node iptables-save -t mangle | grep KUBE-ROUTER-DSR
    $LAB exec node-$node ip6tables-save -t mangle | grep KUBE-ROUTER-DSR
  done
}

nowhere() { # nowhere WHEN
  expect "$1, nothing is left on the nodes" "$(on_nodes)" ""
  expect "$1, nothing is left in the pods" "$(in_pods)" ""
}

served() { # served HOW FROM ADDRESS WANTED: both pods answer; each sees WANTED as the client
  local answers
  answers=$(ask "$2" "$3" 8080 4)
  expect "$1: both pods answer $2 on $3" "$(answered_by <<<"$answers")" "$(printf '2 %s\n2 %s' $FAR $NEAR)"
  expect "$1: pods see $4" "$(seen_as <<<"$answers")" "$4"
}

# What the pod itself says: it answers from the external IP.
spoke_as() { awk '$1 == "ok" { print $3 }' | sort -u; }

# --- on, dual-stack
for node in node1 node2; do
  expect "$node serves $EXT4 by mark and tunnel" "$(fwm $node "$MARK4")" \
    "$(printf 'FWM %s rr\n172.20.104.10:8080 Tunnel 1\n172.20.166.10:8080 Tunnel 1' "$MARK4")"
  expect "$node serves $EXT6 by mark and tunnel" "$(fwm $node "$MARK6 IPv6")" \
    "$(printf 'FWM %s IPv6 rr\n[fd00:104::10]:8080 Tunnel 1\n[fd00:166::10]:8080 Tunnel 1' "$MARK6")"
  expect "$node serves the ClusterIP by NAT" "$(ipvs_service $node "TCP 10.254.9.9:8080")" \
    "$(printf 'TCP 10.254.9.9:8080 rr\n172.20.104.10:8080 Masq 1\n172.20.166.10:8080 Masq 1')"
  expect_line "$node sends the mark into table 78" "$($LAB exec node-$node ip rule | tr "\t" " ")" \
    "32764: from all fwmark $(printf '0x%x' "$MARK4") lookup 78 proto 201"
  addresses=$($LAB exec node-$node ip -o addr; $LAB exec node-$node ip route show table local; $LAB exec node-$node ip -6 route show table local)
  grep -qE "$EXT4|$EXT6" <<<"$addresses" && fail "$node has no external IP as an address" "$addresses"
  pass "$node has no external IP as an address"
done
rules=$($LAB exec node-node1 iptables-save -t mangle; $LAB exec node-node1 ip6tables-save -t mangle)
grep -q -- '--set-mss 1440' <<<"$rules" || fail "IPv4 answers get room for the tunnel" "$rules"
grep -q -- '--set-mss 1400' <<<"$rules" || fail "IPv6 answers get room for the tunnel" "$rules"
pass "answers get room for the tunnel"
PODS_ON=$(printf '%s\n' "far kube-tunnel-if $EXT4/32" "far kube-tunnel-v6 $EXT6/128" "near kube-tunnel-if $EXT4/32" "near kube-tunnel-v6 $EXT6/128")
expect "each pod has the external IPs on its tunnels" "$(in_pods)" "$PODS_ON"

before=$(stat 172.20.104.10:8080 5) in_before=$(stat 172.20.104.10:8080 4)
served "tunnel" client-outside $EXT4 192.168.123.10
# Linux sums its counters up every two seconds.
for _ in $(seq 100); do [ "$(stat 172.20.104.10:8080 4)" -gt "$in_before" ] && break; sleep 0.1; done
[ "$(stat 172.20.104.10:8080 4)" -gt "$in_before" ] || fail "requests to the other node's pod pass IPVS" "$(ipvs node1)"
pass "requests to the other node's pod pass IPVS"
expect "its answers do not" "$(stat 172.20.104.10:8080 5)" "$before"
flows=$($LAB exec node-node1 conntrack -L -p tcp --orig-src 192.168.123.10 --orig-dst $EXT4 2>/dev/null)
expect "node1's conntrack saw no answer of the two connections to the other node" "$(grep -c UNREPLIED <<<"$flows")" 2
served "tunnel" client-outside $EXT6 fd00:123::10
expect "the pods answer as $EXT4" "$(ask client-outside $EXT4 8080 4 | spoke_as)" $EXT4
served "from a node" node-node1 $EXT4 192.168.123.250
served "from a node" node-node1 $EXT6 fd00:123::250
served "from a pod" pod-default-caller $EXT4 172.20.166.20
served "from a pod" pod-default-caller $EXT6 fd00:166::20
served "ClusterIP" pod-default-caller 10.254.9.9 172.20.166.20
served "ClusterIP" pod-default-caller fd00:254::9 fd00:166::20

# --- a strict reverse path filter, as some distributions have it
for where in node-node1 node-node2 pod-default-near pod-default-far; do
  $LAB exec $where sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done'
done
$LAB agent restart node1 node2
settle
served "strict rp_filter" client-outside $EXT4 192.168.123.10
expect "a restart changes nothing in pods" "$(in_pods)" "$PODS_ON"

# --- repairs inside a pod, and a pod that comes back
$LAB exec pod-default-near ip link del kube-tunnel-if
for _ in $(seq 150); do [ "$(in_pods)" = "$PODS_ON" ] && break; sleep 0.1; done
expect "a tunnel that somebody deleted comes back" "$(in_pods)" "$PODS_ON"

pod_near() { # the pod of cluster.yaml
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: { name: near, namespace: default, labels: { app: web } }
spec: { nodeName: node1, containers: [{ name: web, ports: [{ containerPort: 8080 }] }] }
status: { podIP: 172.20.166.10, podIPs: [{ ip: 172.20.166.10 }, { ip: "fd00:166::10" }] }
YAML
}
pod_near | $LAB delete -
settle
expect "a pod that is gone took its tunnel along, and the other serves" "$(ask client-outside $EXT4 8080 3 | answered_by)" "3 $FAR"
pod_near | $LAB apply -
settle
expect "another pod with its addresses gets its own" "$(in_pods)" "$PODS_ON"
served "tunnel" client-outside $EXT4 192.168.123.10

# --- Local: each node its own pods; none: silence
service "$DSR" Local
expect "Local keeps to the node's pods" "$(fwm node1 "$MARK4")" "$(printf 'FWM %s rr\n172.20.166.10:8080 Tunnel 1' "$MARK4")"
expect "Local: the node's pod answers" "$(ask client-outside $EXT4 8080 3 | answered_by)" "3 $NEAR"
service "$DSR" Local
$LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: only-far, namespace: default, annotations: { $DSR } }
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  clusterIP: 10.254.9.10
  externalIPs: [10.33.1.12]
  externalTrafficPolicy: Local
  ports: [{ port: 8080 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: only-far-1, namespace: default, labels: { kubernetes.io/service-name: only-far } }
addressType: IPv4
ports: [{ name: "", port: 8080, protocol: TCP }]
endpoints: [{ addresses: [172.20.104.10], nodeName: node2 }]
YAML
settle
expect "Local without a pod here: silence" "$(ask client-outside 10.33.1.12 8080 1)" "timeout "
expect "two VIPs share a pod's tunnel" "$($LAB exec pod-default-far ip -o -4 addr show dev kube-tunnel-if | awk '{ print $4 }' | sort)" \
  "$(printf '%s/32\n10.33.1.12/32' $EXT4)"
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: only-far, namespace: default }\n' | $LAB delete -
service "$DSR"

# --- a Service that shares the address without asking for anything, and one whose pod is on its node's network
$LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: beside, namespace: default }
spec:
  clusterIP: 10.254.9.11
  clusterIPs: [10.254.9.11, "fd00:254::11"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [$EXT4, "$EXT6"]
  selector: { app: web }
  ports: [{ port: 8090, targetPort: 8080 }]
---
apiVersion: v1
kind: Pod
metadata: { name: host, namespace: default, labels: { app: host } }
spec: { nodeName: node2, hostNetwork: true, containers: [{ name: web, ports: [{ containerPort: 7070 }] }] }
status: { podIP: 192.168.123.248 }
---
apiVersion: v1
kind: Service
metadata: { name: host, namespace: default, annotations: { $DSR } }
spec:
  clusterIP: 10.254.9.12
  externalIPs: [$EXT4]
  selector: { app: host }
  ports: [{ port: 7070 }]
YAML
settle
expect "a port beside it, by NAT" "$(ask client-outside $EXT4 8090 4 | answered_by)" "$(printf '2 %s\n2 %s' $FAR $NEAR)"
expect "a port beside it, by NAT, IPv6" "$(ask client-outside $EXT6 8090 4 | answered_by)" "$(printf '2 %s\n2 %s' $FAR $NEAR)"
expect "a port beside it, by NAT, from a node" "$(ask node-node1 $EXT4 8090 4 | answered_by)" "$(printf '2 %s\n2 %s' $FAR $NEAR)"
expect "a pod on its node's network, by NAT" "$(ask client-outside $EXT4 7070 2 | answered_by)" "2 default/host"
served "tunnels go on" client-outside $EXT4 192.168.123.10
status=$($LAB run node1 -- status)
grep -q 'Endpoint "192.168.123.248" is on its node.s own network' <<<"$status" || fail "the status says that the pod has no network of its own" "$status"
pass "the status says that the pod has no network of its own"
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: beside, namespace: default }\n---\napiVersion: v1\nkind: Service\nmetadata: { name: host, namespace: default }\n' | $LAB delete -
settle

# --- a target port that tunnels cannot change: NAT, and said
service "$DSR" Cluster 8081
status=$($LAB run node1 -- status)
grep -q 'direct server return cannot change ports' <<<"$status" || fail "the status says that ports differ" "$status"
pass "the status says that ports differ"
expect "such endpoints are served by NAT" "$(fwm node1 "$MARK4")" \
  "$(printf 'FWM %s rr\n172.20.104.10:8081 Masq 1\n172.20.166.10:8081 Masq 1' "$MARK4")"
expect "and need nothing in pods" "$(in_pods)" ""

# --- a scheduler from the first, then affinity in place
service "$DSR, kube-router.io/service.scheduler: mh"
expect_line "the annotated scheduler" "$(ipvs node1)" "FWM $MARK4 mh"
expect "Maglev lets connections begin in the middle" "$($LAB exec node-node1 cat /proc/sys/net/ipv4/vs/sloppy_tcp)" 1

# --- off, on, deleted, cleaned up
service ""
nowhere "switched off"
served "NAT again" client-outside $EXT6 "$(printf 'fd00:123::10\nfd00:123::250')"
service "$DSR"
expect "switched on again" "$(in_pods)" "$PODS_ON"
$LAB delete - <<YAML
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
YAML
settle
nowhere "deleted"
expect "sloppy_tcp is as it was" "$($LAB exec node-node1 cat /proc/sys/net/ipv4/vs/sloppy_tcp)" 0
service "$DSR"
# The other pods' agent is not asked: only what is this node's goes.
$LAB agent stop node1 node2
for node in node1 node2; do
  $LAB run $node -- cleanup >"$LAB_OUT/cleanup-$node.txt" || fail "cleanup of $node" "$(cat "$LAB_OUT/cleanup-$node.txt")"
done
nowhere "cleaned up"
for node in node1 node2; do
  expect "cleaned up, $node has no chain of ours" "$($LAB exec node-$node sh -c 'iptables-save; ip6tables-save' | grep KUBE-ROUTER)" ""
done
grep -q -- "- link kube-tunnel-if type ipip local 172.20.166.10 " "$LAB_OUT/cleanup-node1.txt" ||
  fail "the cleanup names the tunnel" "$(cat "$LAB_OUT/cleanup-node1.txt")"
grep -q "in pod 172.20.104.10" "$LAB_OUT/cleanup-node1.txt" && fail "node1 leaves node2's pods alone" "$(cat "$LAB_OUT/cleanup-node1.txt")"
pass "each node cleaned its own pods"
