#!/usr/bin/env bash
# Stop, kill -9, restart and upgrade while 500 connections a second that must be denied and 500 that must pass are tried: not one wrong verdict.
. "$(dirname "$0")/lib.sh"
storm() { # storm NETNS allow|deny RATE TARGET…: in the background, returning when it has begun
  python3 "$(dirname "$0")/storm.py" "$LAB_OUT" "$@" &
  within 15 "connections from $1 are tried" test -e "$LAB_OUT/storming-$1"
}
verdicts() { # verdicts DESCRIPTION NETNS: many were tried, and none was judged wrongly
  local tries rate wrong
  read -r tries rate wrong <"$LAB_OUT/storm-$2"
  [ "$wrong" = 0 ] && [ "$tries" -gt 1000 ] || fail "$1" "$(cat "$LAB_OUT/storm-$2"; $LAB agent logs node1 | tail -n 20)"
  pass "$1: $tries, $rate a second"
}
policy a/web '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }], ports: [{ port: 80 }] }] }'
policy b/out '{ podSelector: { matchLabels: { app: db } }, policyTypes: [Egress], egress: [{ to: [{ namespaceSelector: { matchLabels: { env: prod } } }] }] }'
expect "policies decide" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-db a-web"
web="10.1.1.2 80 fd01:1::2 80"
storm pod-a-db allow 500 $web
storm pod-b-db deny 250 $web 10.1.2.4 80
storm pod-c-other deny 250 $web

$LAB agent stop node1
sleep 1
$LAB agent start node1
killed_at_starts 0 0.05 0.1 0.2 0.35 0.5 0.75 1
$LAB agent start node1
$LAB agent restart node1
sleep 1
# Another executable takes over, after a stop and after a kill; the cluster has changed meanwhile.
cp "$LAB_ROUTELET" /tmp/routelet-next.$$
$LAB agent executable node1 /tmp/routelet-next.$$
$LAB agent stop node1
policy c/any '{ podSelector: {}, ingress: [{}] }' 2>/dev/null
policy a/other '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: none } } }] }] }' 2>/dev/null
$LAB agent start node1
$LAB wait >/dev/null
$LAB agent executable node1 "$LAB_ROUTELET"
$LAB agent kill node1
unpolicy c/any 2>/dev/null
$LAB agent start node1
$LAB wait >/dev/null
unpolicy a/other
rm /tmp/routelet-next.$$
touch "$LAB_OUT/enough"
for job in $(jobs -p); do wait "$job" || fail "the clients ran" ""; done
verdicts "what must pass passed" pod-a-db
verdicts "what must be denied was denied, on the same node and on the way out" pod-b-db
verdicts "and from another node" pod-c-other
plan=$($LAB run node1 -- plan 2>&1)
expect "nothing is planned" "$? $plan" "0 "
