#!/usr/bin/env bash
# Programs of the host are not reachable by a VIP, and stay so by the node's own addresses; VIPs answer pings.
. "$(dirname "$0")/lib.sh"

VIPS="10.96.1.1 fd00:96::1"
NODE="192.168.50.11 fd00:50::11"
PODS_AND_CLIENTS="pod-default-client client-outside"
listen 9000 8181

closed() { # closed DESCRIPTION: a port that no Service has is refused at once at the VIPs, by all but nobody
  for protocol in TCP UDP; do
    expect "$1: the host's program is out of reach by a VIP over $protocol" \
      "$(results $protocol 9000 $PODS_AND_CLIENTS node-one -- $VIPS)" \
      "$(every refused $PODS_AND_CLIENTS node-one -- $VIPS)"
  done
}

open() { # open DESCRIPTION: what must always be reachable is
  expect "$1: the host's program answers on the node's addresses over TCP" \
    "$(results TCP 9000 $PODS_AND_CLIENTS node-one -- $NODE)" "$(every 'ok host' $PODS_AND_CLIENTS node-one -- $NODE)"
  # Not from pods: the program answers datagrams from the address that is nearest, which is the bridge's.
  expect "$1: and over UDP" "$(results UDP 9000 client-outside node-one -- $NODE)" "$(every 'ok host' client-outside node-one -- $NODE)"
  expect "$1: loopback is open" "$(results TCP 9000 node-one -- 127.0.0.1 ::1)" "$(every 'ok host' node-one -- 127.0.0.1 ::1)"
  expect "$1: the Service answers" "$(results TCP 80 $PODS_AND_CLIENTS node-one -- $VIPS | grep -c ' ok default/web-')" "6"
  expect "$1: the NodePort answers" "$(results TCP 30080 $PODS_AND_CLIENTS -- $NODE | grep -c ' ok default/web-')" "4"
}

pings() { # pings DESCRIPTION
  local address
  for address in $VIPS; do
    for from in $PODS_AND_CLIENTS; do
      $LAB exec $from ping -c 2 -i 0.2 -W 2 $address >/dev/null || fail "$1: $from pings $address" "$(on ip -s addr)"
    done
  done
  pass "$1: VIPs answer pings"
}

closed "default"
open "default"
pings "default"
expect "a port that nobody has is refused at once" "$(results TCP 7 $PODS_AND_CLIENTS -- $VIPS)" "$(every refused $PODS_AND_CLIENTS -- $VIPS)"
expect "the sets are kube-router's" "$(on ipset list -t kube-router-svip-prt | grep -E '^(Type|Header)' | sed 's/ bucketsize.*initval.*$//; s/hashsize.*$//')" "Type: hash:ip,port
Header: family inet "
on ipset list -t kube-router-svip-prt | grep -q 'timeout 0' || fail "members may have time-outs, as kube-router's" "$(on ipset list -t)"
pass "members may have time-outs, as kube-router's"
expect "kube-router-svip-prt" "$(members kube-router-svip-prt)" "10.96.1.1,tcp:80
10.96.1.1,udp:53
192.168.50.11,tcp:30080"
expect "inet6:kube-router-svip" "$(members inet6:kube-router-svip)" "fd00:50::11
fd00:96::1"
expect "the chain has kube-router's rules in its order" \
  "$(on ip6tables -S KUBE-ROUTER-SERVICES | grep -o '"[a-z][^"]* routelet:' | sed 's/^"//; s/ routelet:$//')" \
  "allow icmp echo requests
allow icmp destination unreachable messages
allow icmp time exceeded messages
allow icmp neighbor solicitation messages
allow icmp neighbor advertisement messages
allow icmp echo reply messages
allow icmp packet too big messages
allow input traffic to ipvs services
connections that were let in may finish
reject all unexpected traffic to service IPs
reject all unexpected traffic to service IPs"

# A node's new address is its own as soon as it has it.
on ip addr add 192.168.50.77/24 dev eth0
within 5 "a new address of the node is a local one" on ipset test kube-router-local-ips 192.168.50.77
expect "the host's program answers there" "$(results TCP 9000 client-outside -- 192.168.50.77)" "$(every 'ok host' client-outside -- 192.168.50.77)"

# VIPs that one route serves are addresses of the node as well.
$LAB agent flags one -- --vip-binding=route
$LAB agent restart one
settle
# When the last VIP leaves the link, Linux drops the IPv4 routes of the link, and the agent puts them back.
within 10 "the range has its route" on sh -c 'ip route show table local | grep -q "local 10.96.0.0/16"'
closed "one route for the range"
open "one route for the range"
pings "one route for the range"

# --ipvs-permit-all=false leaves it to the node's own rules.
on iptables -A INPUT -p tcp --dport 8181 -m comment --comment "an admin's" -j DROP
$LAB agent flags one -- --ipvs-permit-all=false
$LAB agent restart one
settle
open "without --ipvs-permit-all"
expect "the chain is there and empty" "$(on iptables -S KUBE-ROUTER-SERVICES)" "-N KUBE-ROUTER-SERVICES"
expect "nothing jumps to it" "$(on iptables-save | grep -c -- '-j KUBE-ROUTER-SERVICES')" "0"
expect "the sets are kept" "$(members kube-router-svip | head -n 1)" "10.96.1.1"
expect "the host's program answers by a VIP" "$(results TCP 9000 client-outside -- $VIPS)" "$(every 'ok host' client-outside -- $VIPS)"
expect "an admin's rule holds for VIPs" "$(results TCP 8181 client-outside -- 10.96.1.1)" "client-outside 10.96.1.1 timeout"
