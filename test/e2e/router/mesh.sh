#!/bin/bash
# Nodes peer with each other, learn each other's pod CIDRs and route them: directly within a subnet, by tunnels between.
. "$(dirname "$0")/lib.sh"

$LAB wait >/dev/null || fail "the agents did not settle" ""
until_true "every pod reaches every other one, in both families" pods_reach_each_other

four=$(routes n1 4)
six=$(routes n1 6)
has "n2 is a neighbour" "$four" "10.244.2.0/24 via 10.1.0.12 dev eth0"
has "n2 is a neighbour in IPv6" "$six" "fd00:244:2::/64 via fd00:1::12 dev eth0"
tun4=$(on n1 ip -o link show type ipip | grep -o 'tun-[0-9a-f]*' | sort -u)
tun6=$(on n1 ip -o link show type ip6tnl | grep -o 'tun-[0-9a-f]*' | sort -u)
has "n3 is behind a tunnel" "$four" "10.244.3.0/24 dev $tun4 scope link src 10.1.0.11"
has "n3 is behind a tunnel in IPv6" "$six" "fd00:244:3::/64 dev $tun6 src fd00:1::11"
has "what pods send to n3 itself goes there too" "$four" "10.2.0.13 dev $tun4 table 77"
has "by a rule of table 77" "$(on n1 ip rule)" "from 10.244.1.0/24 lookup 77"

# The CNI configuration, which comes late here, gets the node's pod CIDRs and MTU, and keeps all else byte for byte.
conf='{"name":"mynet",  "type": "bridge","bridge":"kube-bridge","isDefaultGateway":true,"hairpinMode":true,"ipam":{"type":"host-local"},"x":[1.0]}'
for n in n1 n2 n3; do on $n sh -c "mkdir -p /etc/cni/net.d; printf '%s' '$conf' >/etc/cni/net.d/10-kuberouter.conf"; done
written() { on n1 grep -q 10.244.1.0/24 /etc/cni/net.d/10-kuberouter.conf; }
until_true "the CNI configuration is written" written
expect "and nothing else of it has changed" "$(on n1 cat /etc/cni/net.d/10-kuberouter.conf)" \
  '{"name":"mynet",  "type": "bridge","bridge":"kube-bridge","isDefaultGateway":true,"hairpinMode":true,"ipam":{"type":"host-local","ranges": [[{"subnet": "10.244.1.0/24"}],[{"subnet": "fd00:244:1::/64"}]]},"x":[1.0],"mtu": 1500}'

# Outside of the cluster pods have the node's address, inside their own.
seen=$($LAB exec pod-default-p1 sh -c 'ip -4 route get 10.1.0.99 >/dev/null; echo ok')
expect "a pod has a way out" "$seen" ok

# What somebody deletes comes back.
on n1 ip route del 10.244.2.0/24
on n1 ip link del "$tun4"
restored() { routes n1 4 | grep -q "10.244.2.0/24 via" && routes n1 4 | grep -q "10.244.3.0/24 dev tun-"; }
until_true "deleted routes and tunnels come back" restored
until_true "and carry traffic" pods_reach_each_other

# An agent that is killed and started again loses nothing: it leaves its routes, and the others keep theirs to it.
before=$(routes n1 4)
$LAB agent kill n1
expect "a killed agent leaves its routes" "$(routes n1 4)" "$before"
pods_reach_each_other >/dev/null || fail "pods lost each other when the agent was killed" "$(cat "$LAB_OUT/unreached")"
pass "pods reach each other without an agent"
$LAB agent start n1
expect "a started one finds them" "$(routes n1 4)" "$before"
until_true "and pods reach each other" pods_reach_each_other

# A second round finds nothing to do.
$LAB run n1 -- plan >"$LAB_OUT/plan" 2>&1
expect "nothing is left to do" "$?:$(cat "$LAB_OUT/plan")" "0:"

# What a node that stays away left goes when its time is up.
$LAB agent stop n3
gone() { ! routes n1 4 | grep -q 10.244.3.0/24 && ! on n1 ip link show type ipip | grep -q tun-; }
until_true "routes and tunnel of a node that left go" gone
