#!/bin/bash
# Peers by flags with a file of passwords, metrics, route reflectors, AS numbers of nodes: what a node is changes while it runs.
. "$(dirname "$0")/lib.sh"

mesh() { established node01 node02 node03 && established node02 node01 node03 && established node03 node01 node02; }
key=$(printf s3cret | base64)
annotate node01 peers "[{remoteip: 10.129.6.91, remoteasn: 64513, password: $key}, {remoteip: 10.129.6.92, remoteasn: 64514, password: $key}]"
passwords() { printf '%s\n' "$1" | on node02 sh -c 'mkdir -p /etc/routelet; cat >/etc/routelet/passwords'; }
passwords "$(printf first | base64),"
$LAB agent flags node02 -- --peer-router-ips=10.129.6.91,10.129.6.92 --peer-router-asns=64513,64514 \
  --peer-router-passwords-file=/etc/routelet/passwords --enable-bfd \
  --bfd-desired-min-tx-interval=200 --bfd-required-min-rx-interval=200
$LAB agent restart node02
until_true "peers of flags are Established, one by its password in the file" established node02 R1 R2
bfd_up() { r1 'show bfd sessions' | tee /dev/stderr | grep -q '10.129.6.212 .* Up .*0\.[26]00'; }
until_true "and BFD with BIRD is up" bfd_up
until_true "the nodes have sessions with each other" mesh

# The file changes: R1 takes another password first, and is alone in noticing.
before=$(sessions node02 10.129.6.91; sessions node01)
$LAB exec router-R1 sh -c 'sed s/first/second/ /run/lab/routers/R1/r1.conf >/tmp/r1-second.conf && birdc configure \"/tmp/r1-second.conf\"' |
  grep -q Reconfigur || fail "BIRD does not take its configuration" "$(r1 show status)"
lost() { ! established node02 R1; }
until_true "R1 has another password, and the session is lost" lost
passwords "$(printf second | base64),"
until_true "with it in the file it is back" established node02 R1
on node02 mv /etc/routelet/passwords /etc/routelet/away
until_true "a file that is gone is a problem" has_problem node02 'Cannot read "/etc/routelet/passwords"'
expect "and costs no session" "$(established node02 R1 R2 >/dev/null && echo up)" up
passwords "$(printf second | base64)"
until_true "so is one with too few passwords" has_problem node02 "has 1 passwords for 2 in --peer-router-ips"
passwords "$(printf second | base64),"
until_true "until it is right" no_problem node02
expect "nobody else's session was touched" "$(sessions node02 10.129.6.91; sessions node01)" "$before"

# What Prometheus finds.
on node02 curl -s http://127.0.0.1:8080/metrics >"$LAB_OUT/metrics"
metric() { grep -qxE -- "$1" "$LAB_OUT/metrics" || fail "no metric like $1" "$(grep -E 'bgp|host_routes' "$LAB_OUT/metrics")"; }
metric 'kube_router_bgp_peer_info\{address="10.129.6.91",type="external",asn="64513",state="established"\} 1'
metric 'kube_router_bgp_peer_info\{address="10.129.6.213",type="internal",asn="64512",state="established"\} 1'
metric 'kube_router_controller_bgp_advertisements_received [1-9][0-9]*'
metric 'kube_router_controller_bgp_advertisements_sent\{type="pod-route"\} [1-9][0-9]*'
metric 'kube_router_controller_bgp_advertisements_sent\{type="advertise-vip"\} [1-9][0-9]*'
metric 'kube_router_controller_bgp_advertisements_sent\{type="withdraw-vip"\} [0-9]+'
metric 'kube_router_host_routes_synced 4'
pass "kube-router's metrics are there by their names"
grep -E 'bgp_peer_(up|flaps|prefixes|messages)' "$LAB_OUT/metrics" | grep 10.129.6.91 >"$LAB_OUT/peer-metrics"
peer_metric() { grep -qE -- "$1" "$LAB_OUT/peer-metrics" || fail "no metric like $1" "$(cat "$LAB_OUT/peer-metrics")"; }
peer_metric '_bgp_peer_up\{address="10.129.6.91"\} 1$'
peer_metric '_bgp_peer_flaps(_total)?\{address="10.129.6.91"\} 1$'
peer_metric '_bgp_peer_prefixes\{address="10.129.6.91",family="ipv4",kind="accepted"\} 2$'
peer_metric '_bgp_peer_messages(_total)?\{address="10.129.6.91",direction="sent",type="update"\} [1-9]'
pass "and each peer's state, flaps, prefixes and messages"

# A route reflector and two clients.
before=$(sessions node02 10.129.6.213; neighbors node01 | jq -r '.neighbors[] | select(.type == "external") | "\(.address) \(.established) \(.flaps) \(.since)"')
annotate node02 rr.client 7
annotate node03 rr.client 7
until_true "clients have no session with each other" peers_are node03
annotate node01 peers "[{remoteip: 10.129.6.91, remoteasn: 64513, password: $key}, {remoteip: 10.129.6.92, remoteasn: 64514, password: $key}]" rr.server 7
until_true "but with the reflector" established node03 node01
until_true "both" established node02 node01
reflected() {
  $LAB run node02 -- bgp rib | tr -s ' ' | tee /dev/stderr |
    grep -q '10.244.2.0/24 10.129.6.213 .*{Originator: 10.129.6.213} {ClusterList: \[0.0.0.7\]}'
}
until_true "which tells one of the other's pods" reflected
until_true "and the way there is the node itself" route_is node02 10.244.2.0/24 "10.244.2.0/24 via 10.129.6.213 dev eth0"
until_true "where packets go" reaches pod-default-b 10.244.2.5
until_true "and back" reaches pod-default-c 10.244.1.5
expect "the sessions of the reflector with routers outside were not touched" \
  "$(neighbors node01 | jq -r '.neighbors[] | select(.type == "external") | "\(.address) \(.established) \(.flaps) \(.since)"')" \
  "$(grep -E '^10.129.6.9[12] [0-9]+ ' <<<"$before")"
expect "nor those of a client" "$(sessions node02 10.129.6.211 | grep -v 10.129.6.213)" "$(grep -E 'established' <<<"$before" | grep -v 10.129.6.211)"
annotate node01
annotate node02
annotate node03
until_true "without the annotations it is a mesh again" mesh
until_true "and a node without peers outside has none" peers_are node01 node02 node03

# Where a node listens is no session's business.
before=$(for n in $NODES; do sessions $n; done)
listens() { # listens ADDRESS: there and nowhere else
  local got
  got=$(on node03 ss -Htln 'sport = :179' | awk '{ print $4 }')
  echo "$got"
  [ "$got" = "$1:179" ]
}
until_true "a node listens on its address" listens 10.129.6.213
on node03 ip address add 10.129.6.220/32 dev lo
annotate node03 bgp-local-addresses 10.129.6.220
until_true "and on another one, by an annotation" listens 10.129.6.220
annotate node03 bgp-local-addresses 10.129.6.221
until_true "one that it does not have is a problem" has_problem node03 'BGP listens as before: Cannot listen for BGP on "10.129.6.221"'
expect "and changes nothing" "$(listens 10.129.6.220)" 10.129.6.220:179
annotate node03
until_true "without the annotation it is back at its own" listens 10.129.6.213
until_true "and all is well" no_problem node03
expect "no session was touched" "$(for n in $NODES; do sessions $n; done)" "$before"

# Each node has its AS number: those of one number are a mesh, with others there is no session.
for n in $NODES; do $LAB agent flags $n -- --nodes-full-mesh=false; done
$LAB agent restart $NODES
until_true "a node without an AS number says which annotation it needs" has_problem node03 "Annotation kube-router.io/node.asn is missing"
r1peer="{remoteip: 10.129.6.91, remoteasn: 64513, password: $key}"
annotate node01 node.asn 64601 peers "[$r1peer]"
annotate node02 node.asn 64601 peers "[{remoteip: 10.129.6.91, remoteasn: 64513, password: $(printf second | base64)}]"
annotate node03 node.asn 64602 peers "[{remoteip: 10.129.6.91, remoteasn: 64513}]"
until_true "nodes of one number have a session" established node01 node02 R1
until_true "with another number there is none" peers_are node03 R1
until_true "the router has the number of each" r1_says 10.244.2.0/24 "BGP.as_path: 64602"
until_true "as its own" r1_says 10.244.0.0/24 "BGP.as_path: 64601"
until_true "a VIP is there from all of them" in_r1 10.33.1.11/32 node01 node02 node03
side_by_side() {
  local got
  got=$($LAB exec router-R1 ip route show 10.33.1.11 | tr -s ' \n\t' ' ')
  echo "$got"
  [ "$(grep -o 'via 10.129.6.21[123]' <<<"$got" | sort -u | wc -l)" = 3 ]
}
until_true "and in R1's Linux side by side" side_by_side
before=$(sessions node01; sessions node02)
annotate node03 node.asn 64603 peers "[{remoteip: 10.129.6.91, remoteasn: 64513}]"
until_true "another number is another speaker, without a restart" r1_says 10.244.2.0/24 "BGP.as_path: 64603"
annotate node03 node.asn nonsense peers "[{remoteip: 10.129.6.91, remoteasn: 64513}]"
until_true "one that is none turns BGP off there, and is said" has_problem node03 'Annotation kube-router.io/node.asn is "nonsense"'
until_true "its VIP is withdrawn" in_r1 10.33.1.11/32 node01 node02
expect "nobody else was touched" "$(sessions node01; sessions node02)" "$before"
