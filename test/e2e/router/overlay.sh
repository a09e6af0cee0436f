#!/bin/bash
# Tunnels between subnets, in IPIP and in UDP, everywhere, or nowhere, by flags.
. "$(dirname "$0")/lib.sh"

links() { on "$1" ip -o link show | grep -o 'tun-[0-9a-f]*' | sort -u | wc -l; }
again() { # again FLAGS…: all agents with these flags besides the topology's
  local n
  for n in n1 n2 n3; do $LAB agent flags $n -- "$@"; done
  $LAB agent restart n1 n2 n3
  $LAB wait >/dev/null || fail "the agents did not settle" ""
}
one_each_way() { [ "$(links n1):$(links n2):$(links n3)" = "$1" ] || { links n1; links n2; links n3; return 1; }; }

until_true "with --overlay-type=subnet pods reach each other" pods_reach_each_other
until_true "by tunnels to the other subnet alone" one_each_way 2:2:4

again --overlay-type=full
until_true "with --overlay-type=full too" pods_reach_each_other
until_true "by tunnels to every node" one_each_way 4:4:4
lacks "and no route goes directly" "$(routes n1 4)" " via "

again --overlay-encap=fou
until_true "with --overlay-encap=fou too" pods_reach_each_other
has "in UDP to port 5555" "$(on n1 ip -d -o link show type ipip)" "encap gue encap-sport auto encap-dport 5555"
has "in UDP to port 5555, in IPv6" "$(on n1 ip -d -o link show type ip6tnl)" "encap gue encap-sport auto encap-dport 5555"
has "which Linux takes in" "$(on n3 ip fou show)" "port 5555 gue"
until_true "by tunnels to the other subnet alone" one_each_way 2:2:4

again --enable-overlay=false
gone() { one_each_way 0:0:0 && [ -z "$(on n1 ip fou show)$(on n1 ip rule | grep 'lookup 77')" ]; }
until_true "with --enable-overlay=false tunnels, UDP port and rules go" gone
until_true "neighbours reach each other" reaches pod-default-p1 10.244.2.5
! reaches pod-default-p1 10.244.3.5 || fail "there is a way that nobody made" ""
pass "and other subnets are the underlay's"
# The lab's own router, where this script runs, learns the way.
for i in 1 2 3; do
  ip route add 10.244.$i.0/24 via "$([ $i = 3 ] && echo 10.2.0.13 || echo "10.1.0.1$i")"
done
until_true "which routes them where it knows the way" reaches pod-default-p1 10.244.3.5
