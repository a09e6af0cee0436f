#!/bin/bash
# Proxy, router and firewall together on nodes that have IPv6 alone: pods, a VIP through R1, and who may reach it.
. "$(dirname "$0")/../lib.sh"

$LAB wait >/dev/null || fail "the agents did not settle" ""
established() { # established NODE COUNT
  local got
  got=$($LAB run "$1" -- bgp neighbors --output json | jq -r '.neighbors[] | "\(.address) \(.state) \(.lastError) \(.families)"')
  echo "$got"
  [ "$(grep -c Established <<<"$got")" = "$2" ]
}
for n in n1 n2 n3; do until_true "$n has sessions with both nodes and R1" established $n 3; done
has "a router id is made of the address" "$($LAB run n1 -- bgp global)" "Router-ID: 138.40.119.25"
r1() { $LAB exec router-R1 birdc "$@"; }
in_r1() { # in_r1 PREFIX NODE…
  local prefix=$1 got
  shift
  got=$(r1 "show route $prefix" | grep -o '\[n[0-9] ' | tr -d '[ ' | sort | tr '\n' ' ')
  echo "R1 has $prefix from: $got"
  [ "$got" = "$*${*:+ }" ]
}
until_true "R1 has the VIP from the nodes with an endpoint" in_r1 fd00:33::11/128 n1 n2
until_true "the ClusterIP from all" in_r1 fd00:96::10/128 n1 n2 n3
until_true "and each node's pods from it" in_r1 fd00:244:3::/64 n3
route_is() { # route_is NODE PREFIX TEXT
  local got
  got=$(routes "$1" 6 | grep -F "$2")
  echo "$got"
  grep -qF -- "$3" <<<"$got"
}
until_true "pods on one wire are routed directly" route_is n1 fd00:244:2::/64 "via fd00:129::12 dev eth0"
until_true "others by a tunnel" route_is n1 fd00:244:3::/64 "dev tun-"
four=$(on n1 sh -c 'ip -4 route show table all proto 202; ip -4 rule | grep 77; ipset list -n | grep -E "^(kube-router-pod|kube-router-node)"; iptables-save | grep RT-')
expect "there is nothing of IPv4" "$four" ""

# The policy: p2 and the friend may, the stranger and nodes' other pods may not.
answer() { # answer FROM ADDRESS: result, and the address that the pod saw
  probe "$1" "$2" | cut -d' ' -f1,4
}
answers() { # answers FROM ADDRESS TEXT
  local got
  got=$(answer "$1" "$2")
  echo "$got"
  [ "$got" = "$3" ]
}
until_true "a pod that the policy names reaches others by its tunnel" answers pod-default-p3 fd00:244:1::5 "ok fd00:244:3::5"
until_true "and the ClusterIP" answers pod-default-p3 fd00:96::10 "ok fd00:244:3::5"
expect "a pod that it does not name reaches them neither way" \
  "$(answer pod-default-p1 fd00:244:2::5) $(answer pod-default-p2 fd00:244:1::5)" "refused refused"
many() { # by both nodes, as R1 sends each connection
  local i
  for i in 1 2 3 4 5 6; do answers client-friend fd00:33::11 "ok fd00:129::200" || return 1; done
}
until_true "a client that may reaches the VIP through R1 with its own address" many
expect "one that may not does not" "$(answer client-stranger fd00:33::11)" refused
