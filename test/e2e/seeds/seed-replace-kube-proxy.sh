#!/usr/bin/env bash
# The proxy beside another network plugin, on a node where kube-proxy ran before: it serves, and leaves again without a trace.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }

# What kube-proxy leaves in iptables and in IPVS mode, for a Service that is long gone and for ours.
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
left_by_kube_proxy node-node1 10.254.99.99 172.20.166.99
on ip link add kube-ipvs0 type dummy
on ip addr add 10.254.99.98/32 dev kube-ipvs0
leftovers() { on sh -c 'iptables-save -t nat | grep -E "KUBE-(SERVICES|SVC|SEP|MARK)" | sed "s/\[[0-9:]*\]//"; ip -o addr show dev kube-ipvs0; ipset list -n | grep KUBE-'; }
before=$(leftovers)

$LAB agent start node1
settle
expect "Services work from a node" "$(ask node-node1 $VIP 8080 6 | answered_by)" "$(all_three 2)"
expect "from pods of that node, whose network is another's" \
  "$($LAB exec pod-default-whats-my-ip-1 curl -sk --max-time 5 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $LAB_TOKEN" https://10.254.0.1:443/version)" "200"
expect "from pods of other nodes" "$(ask pod-default-client $VIP 8080 6 | answered_by)" "$(all_three 2)"
expect "what kube-proxy left is not ours to touch" "$(leftovers)" "$before"

# Going back.
$LAB agent stop node1
out=$($LAB run node1 -- --cleanup-config 2>&1) || fail "cleanup" "$out"
expect "nothing of ours is left in netfilter" "$(on sh -c 'iptables-save; ip6tables-save; ipset list -n' | grep -ciE 'routelet|kube-router')" "0"
expect "nor in IPVS" "$(on ipvsadm -Sn)" ""
expect "nor a link" "$(on ip -o link show | grep -c kube-dummy-if)" "0"
expect "what kube-proxy left stands" "$(leftovers)" "$before"
