#!/bin/bash
# Peers, passwords, AS numbers, attributes and nodes change while all runs: each change concerns its own session alone.
. "$(dirname "$0")/lib.sh"

$LAB wait >/dev/null || fail "the agents did not settle" ""
mesh() { established node01 node02 node03 && established node02 node01 node03 && established node03 node01 node02; }
until_true "the nodes have sessions with each other" mesh

# A router by annotation, with a password; one more with fast BFD.
key=$(printf s3cret | base64)
r1peer="{remoteip: 10.129.6.91, remoteasn: 64513, password: $key}"
r2peer() { echo "{remoteip: 10.129.6.92, remoteasn: ${1:-64514}, password: ${2:-$key}, bfd: {enabled: true, desired_min_tx_interval: 200, required_min_rx_interval: 200}}"; }
before=$(sessions node01)
others=$(sessions node02; sessions node03)
annotate node01 peers "[$r1peer]"
until_true "a peer that an annotation adds is Established, by MD5" established node01 R1
untouched "and the sessions with nodes are not touched" "$before" node01 10.129.6.91
before=$(sessions node01)
annotate node01 peers "[$r1peer, $(r2peer)]"
until_true "so is one more, at FRR" established node01 R2
bfd_up() {
  local got
  got=$(r2 'show bfd peers json' | jq -r '.[] | select(.peer == "10.129.6.211") | "\(.status) \(."remote-receive-interval")"')
  echo "$got"
  [ "$got" = "up 200" ] && neighbors node01 | jq -e '.neighbors[] | select(.address == "10.129.6.92") | .bfd == "up"'
}
until_true "with BFD as the annotation asks for it" bfd_up
untouched "and nobody else's session is touched" "$before" node01 10.129.6.92
until_true "R1 has the VIP" in_r1 10.33.1.11/32 node01
until_true "R2 has the VIP" in_r2 10.33.1.11/32 node01
all=$(sessions node01)

# What is announced and taken in changes without any session noticing.
annotate node01 peers "[$r1peer, $(r2peer)]" node.bgp.communities "65001:7,no-export"
until_true "communities of an annotation are on the routes" r1_says 10.33.1.11/32 "(65001,7)"
annotate node01 peers "[$r1peer, $(r2peer)]" path-prepend.as 64700 path-prepend.repeat-n 3
until_true "so is a path that is prepended" r1_says 10.33.1.11/32 "BGP.as_path: 64700 64700 64700 64512"
gone() { ! r1_says 10.33.1.11/32 "(65001,7)"; }
until_true "and what is no longer asked for is not" gone
until_true "one prefix of two routers is one route with two next hops" route_is node01 10.50.0.0/16 \
  "10.50.0.0/16 nexthop via 10.129.6.91 dev eth0 weight 1 nexthop via 10.129.6.92 dev eth0 weight 1"
until_true "and one of one router with one" route_is node01 10.60.1.0/24 "10.60.1.0/24 via 10.129.6.91 dev eth0"
annotate node01 peers "[$r1peer, $(r2peer)]" node.bgp.customimportreject "10.60.0.0/16, fd00::/8"
until_true "a network that is refused goes, with all that is in it" route_is node01 10.60.1.0/24 ""
annotate node01 peers "[$r1peer, $(r2peer)]"
until_true "and is back when it is not" route_is node01 10.60.1.0/24 "10.60.1.0/24 via 10.129.6.91 dev eth0"
untouched "no session has noticed any of it" "$all" node01

# What is wrong with one peer costs that peer.
before=$(sessions node01 10.129.6.92)
annotate node01 peers "[$r1peer, $(r2peer 64999)]"
until_true "a wrong AS number is said in the log" is_logged node01 "The peer is in AS 64514, not in 64999"
r2_down() { ! established node01 R2; }
until_true "and that peer has no session" r2_down
again() { neighbors node01 | jq -e '.neighbors[] | select(.address == "10.129.6.92") | .sent.notification >= 3'; }
until_true "it is refused again and again" again
expect "which is said once" "$(logged node01 "The peer is in AS 64514, not in 64999")" 1
untouched "the others keep theirs" "$before" node01 10.129.6.92
annotate node01 peers "[$r1peer, $(r2peer 64514 "$(printf wrong | base64)")]"
until_true "a wrong password is guessed in the log" is_logged node01 "password"
untouched "the others keep theirs" "$before" node01 10.129.6.92
! $LAB agent logs node01 | grep -qE "wrong|s3cret|$key" || fail "a password is in the log" "$($LAB agent logs node01 | grep -nE "wrong|s3cret|$key")"
pass "no password is in the log"
annotate node01 peers "[$r1peer, $(r2peer)]"
until_true "with the right ones it is Established" established node01 R2
until_true "and BFD is up" bfd_up
annotate node01 peers "[{remoteip: 10.129.6.91"
until_true "an annotation that cannot be read is a problem" has_problem node01 "Annotation kube-router.io/peers is no YAML"
annotate node01 peers "[$r1peer, $(r2peer), {remoteip: nowhere, remoteasn: 64515}, {remoteip: 10.129.6.93, remoteasn: 64000}]"
until_true "so is a peer without an address" has_problem node01 'peer 3: "nowhere" is no IP address'
until_true "and one with a reserved AS number" has_problem node01 "AS number 64000 is reserved"
untouched "and costs nobody a session" "$before" node01 10.129.6.92
expect "not even the peer with the changes before" "$(established node01 R2 >/dev/null && echo up)" up
annotate node01 peers "[$r1peer, $(r2peer)]"
until_true "when it is right again nothing is left to say" no_problem node01

# BFD: R2 falls silent. Its hold time is 90 s; BFD needs 0.6 s.
before=$(sessions node01 10.129.6.92)
flaps() { neighbors node01 | jq -r '.neighbors[] | select(.address == "10.129.6.92") | "\(.flaps) \(.bfd) \(.lastNotification)"'; }
was=$(flaps | cut -d' ' -f1)
$LAB netem router-R2 loss 100% || fail "R2 cannot be silenced" ""
start=$(date +%s%N)
fell() {
  flaps
  [ "$(flaps | cut -d' ' -f1)" = $((was + 1)) ]
}
until_true "silence ends the session" fell
echo "# after $((($(date +%s%N) - start) / 1000000)) ms"
has "by BFD" "$(flaps)" "BFD went down"
until_true "and what R2 announced alone is not used" route_is node01 10.50.0.0/16 "10.50.0.0/16 via 10.129.6.91 dev eth0"
untouched "nobody else's session suffers" "$before" node01 10.129.6.92
$LAB netem router-R2 off
until_true "the session is back when R2 is" established node01 R2
until_true "BFD too" bfd_up

# Nodes come and go.
before=$(sessions node01 10.129.6.213; sessions node02 10.129.6.213)
printf 'apiVersion: v1\nkind: Node\nmetadata: { name: node03 }\n' | $LAB delete - >/dev/null
until_true "a node that is deleted is no peer" peers_are node01 node02 R1 R2
until_true "for nobody" peers_are node02 node01
until_true "its pods are not routed" route_is node01 10.244.2.0/24 ""
printf 'apiVersion: v1\nkind: Node\nmetadata: { name: node03 }\n' | $LAB apply - >/dev/null
until_true "one that comes is" mesh
until_true "and its pods are" route_is node01 10.244.2.0/24 "10.244.2.0/24 via 10.129.6.213 dev eth0"
expect "the sessions of the others were not touched" "$(sessions node01 10.129.6.213; sessions node02 10.129.6.213)" "$before"

# A peer that is taken out.
before=$(sessions node01 10.129.6.91)
annotate node01 peers "[$(r2peer)]"
until_true "a peer that is taken out is gone" peers_are node01 node02 node03 R2
until_true "and has lost what it was told" in_r1 10.33.1.11/32
untouched "the others keep their sessions" "$before" node01
