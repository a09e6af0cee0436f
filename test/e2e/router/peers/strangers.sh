#!/bin/bash
# IPv4 by routers that have IPv6 alone (RFC 8950), with real packets; and peers that send garbage, flood, stall or are our twin.
. "$(dirname "$0")/lib.sh"

here=$(dirname "$0")
r1peer="{remoteip: 'fd00:129::91', remoteasn: 64513}"
r2peer="{remoteip: 'fd00:129::92', remoteasn: 64514}"
bad="{remoteip: 10.129.6.66, remoteasn: 64666}"
annotate node01 node.bgp.communities 64512:7 peers "[$r1peer, $r2peer]"
AT[R1]=fd00:129::91 AT[R2]=fd00:129::92
until_true "the node has sessions with both, over IPv6" established node01 R1 R2

# Each router has a network behind it and no IPv4 address on the wire.
$LAB exec router-R1 ip addr add 10.50.0.1/32 dev lo
$LAB exec router-R2 ip addr add 10.60.0.1/32 dev lo
until_true "BIRD's network is a route by its IPv6 address" route_is node01 10.50.0.0/24 \
  "10.50.0.0/24 via inet6 fd00:129::91 dev eth0"
until_true "and so is FRR's" route_is node01 10.60.0.0/24 "10.60.0.0/24 via inet6 fd00:129::92 dev eth0"
way_back() { # way_back ROUTER
  local got
  got=$($LAB exec "router-$1" ip -4 route show 10.244.0.0/24 | tr -s ' \n\t' ' ')
  echo "$got"
  grep -qE 'via inet6 (fd00:129::211|fe80:)' <<<"$got"
}
until_true "BIRD has the pods the same way" way_back R1
until_true "and FRR" way_back R2
pings() { $LAB exec pod-default-a ping -c 1 -W 2 "$1"; }
until_true "packets go there and back, by BIRD" pings 10.50.0.1
until_true "and by FRR" pings 10.60.0.1
seen() { # seen ROUTER SOURCE: what the pod says of a connection from there
  local got
  got=$($LAB exec "router-$1" curl -s -m 3 --interface "$2" http://10.244.0.5/)
  echo "$got"
  [ "$got" = "default/a 10.244.0.5 $2" ]
}
until_true "connections too, from BIRD to a pod" seen R1 10.50.0.1
until_true "and from FRR" seen R2 10.60.0.1
until_true "IPv6 is told by the same session" r1_says fd00:244::/64 "BGP.next_hop: fd00:129::211"
has "with the communities of the annotation, at BIRD" "$(r1 "show route 10.244.0.0/24 all")" "(64512,7)"
has "and at FRR" "$(r2 'show bgp ipv4 unicast 10.244.0.0/24')" "64512:7"

# Peers that are wrong, each in its way. What they cost is themselves.
annotate node01 node.bgp.communities 64512:7 peers "[$r1peer, $r2peer, $bad, {remoteip: 10.129.6.67, remoteasn: 64512}, {remoteip: 10.129.6.68, remoteasn: 64668}]"
peers_known() { neighbors node01 | jq -e '[.neighbors[].address] | length == 5'; }
until_true "five peers are configured" peers_known
good=$(sessions node01 | grep ^fd00)
stranger() { # stranger CLIENT ASN ROUTER-ID WHAT
  local client=$1
  shift
  $LAB exec "client-$client" timeout 60 python3 "$here/stranger.py" "$@"
}
view() { # view ADDRESS FILTER
  neighbors node01 | jq -r --arg of "$1" ".neighbors[] | select(.address == \$of) | $2"
}
stranger mute 64668 10.9.0.68 mute >"$LAB_OUT/mute" 2>&1 &
mute=$!

expect "garbage is answered with its NOTIFICATION" "$(stranger bad 64666 10.9.0.66 garbage)" 1/1
garbage='The marker is not all ones'
until_true "and told" is_logged node01 "1/1 (message header error"
expect "garbage again" "$(stranger bad 64666 10.9.0.66 garbage)" 1/1
expect "is not told again" "$(logged node01 "1/1 (message header error")" 1
expect "a peer with our router id is refused" "$(stranger twin 64512 10.129.6.211 open)" 2/3
until_true "with what to do about it" is_logged node01 "The peer has our router id: give every node one of its own"
expect "an AS number that is not the configured one" "$(stranger bad 64999 10.9.0.66 open)" 2/2
until_true "is told with both" is_logged node01 "The peer is in AS 64999, not in 64666"

# A malformed attribute costs its route.
rm -f "$LAB_OUT/enough"
stranger bad 64666 10.9.0.66 malformed "$LAB_OUT/enough" &
until_true "two routes of it are in Linux" route_is node01 10.70.2.0/24 "10.70.2.0/24 via 10.129.6.66 dev eth0"
until_true "the malformed one is withdrawn" route_is node01 10.70.2.0/24 ""
expect "the other stays" "$(route node01 10.70.1.0/24)" "10.70.1.0/24 via 10.129.6.66 dev eth0"
expect "and the session" "$(view 10.129.6.66 '"\(.state) \(.flaps)"')" "Established 0"
expect "which is told once of fifty times" "$(logged node01 "COMMUNITIES has 5 octets")" 1
touch "$LAB_OUT/enough"
down() { [ "$(view 10.129.6.66 .state)" != Established ]; }
until_true "when it leaves" down
until_true "its routes do" route_is node01 10.70.1.0/24 ""

# One that stalls is dropped after its hold time.
stranger bad 64666 10.9.0.66 stall &
until_true "one that is Established" route_is node01 10.71.0.0/24 "10.71.0.0/24 via 10.129.6.66 dev eth0"
until_true "and then says nothing is dropped" is_logged node01 "Nothing came within the hold time of 3 s"
until_true "with its routes" route_is node01 10.71.0.0/24 ""

# One that floods is read as fast as it can be, and nobody else waits for it.
flooded=$(stranger bad 64666 10.9.0.66 flood)
echo "# $flooded messages in 2 s"
[ "$flooded" -ge 10000 ] || fail "it took fewer" "$flooded"
pass "a flood of one route's changes is taken"
until_true "nothing of it is left when it leaves" route_is node01 10.72.0.0/24 ""
until_true "packets go as before" pings 10.50.0.1

wait $mute
expect "one that never said a word was sent away" "$(cat "$LAB_OUT/mute")" 4/0
until_true "which is told" is_logged node01 "No OPEN came within 20 s"
expect "sessions with routers were not touched by any of it" "$(sessions node01 | grep ^fd00)" "$good"
