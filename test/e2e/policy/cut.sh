#!/usr/bin/env bash
# Established connections that a policy denies by now end, whichever end sends; those about which nothing changed go on.
. "$(dirname "$0")/lib.sh"
flows="$(dirname "$0")/flows.py"
on() { $LAB exec node-node1 "$@"; }
snapshot() { # what `within` prints where it fails
  head "$LAB_OUT"/flow-*
  $LAB agent logs node1 | tail -n 5
  on conntrack -L 2>&1 | grep 7000
}
state() { cut -d' ' -f1 "$LAB_OUT/flow-$1"; }
count() { cut -d' ' -f2 "$LAB_OUT/flow-$1"; }
hold() { # hold NAME NETNS PROTOCOL ADDRESS: begins, and waits until something came
  python3 "$flows" hold "$LAB_OUT" "$@" &
  within 10 "$1 is established" received "$1" 0
}
received() { [ -e "$LAB_OUT/flow-$1" ] && [ "$(count "$1")" -gt "$2" ]; }
goes_on() { # goes_on DESCRIPTION NAME: three more come
  within 10 "$1" received "$2" "$(($(count "$2") + 3))"
}
ended() { [ "$(state "$1")" != open ]; }
silent() { # silent NAME: nothing comes for a second
  local before
  before=$(count "$1")
  sleep 1
  [ "$(count "$1")" = "$before" ]
}

# The node calls from an address that it gets after the agent's start, as the pods' bridge does with the first pod.
on ip address add 10.1.1.200/32 dev kube-bridge
on ip route replace 10.1.1.2/32 dev kube-bridge src 10.1.1.200
python3 "$flows" serve pod-a-web &
sleep 1
hold allowed pod-a-db tcp 10.1.1.2
hold other pod-b-web tcp 10.1.1.2
hold neighbour pod-b-db tcp 10.1.1.2
hold six pod-b-web tcp fd01:1::2
hold listener pod-b-web listen 10.1.1.2
hold datagrams pod-b-db udp 10.1.1.2
hold fromnode node-node1 tcp 10.1.1.2

policy c/p '{ podSelector: {}, ingress: [] }'
sleep 1
for flow in allowed other neighbour six listener datagrams fromnode; do
  goes_on "$flow: a policy of others changes nothing" $flow
done
policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }'
within 15 "a connection of another node ends" ended other
within 15 "one of the same node ends" ended neighbour
within 15 "one over IPv6 ends" ended six
expect "by a reset" "$(state other) $(state neighbour) $(state six)" "ConnectionResetError ConnectionResetError ConnectionResetError"
within 15 "who only listens hears nothing more" silent listener
within 15 "UDP gets no more answers" silent datagrams
goes_on "what the policy allows goes on" allowed
goes_on "the node's own goes on" fromnode
unpolicy a/p
goes_on "UDP that is allowed again goes on" datagrams

# A policy for the way out, of the pod that calls.
hold out pod-a-web tcp 10.1.1.2
hold leaving pod-b-db tcp 10.1.1.2
policy b/p '{ podSelector: { matchLabels: { app: db } }, policyTypes: [Egress] }'
within 15 "a connection that may not leave ends" ended leaving
goes_on "a pod's own to itself goes on" out
unpolicy b/p

# A policy that changes while no agent runs.
hold later pod-b-web tcp 10.1.1.2
$LAB agent kill node1
policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }' 2>/dev/null
goes_on "without an agent nothing is cut" later
$LAB agent start node1
within 15 "the next agent cuts it" ended later
goes_on "and what is allowed goes on" allowed
unpolicy a/p

$LAB agent flags node1 -- --netpol-keep-established
$LAB agent restart node1
hold kept pod-b-web tcp 10.1.1.2
policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Ingress] }'
sleep 1
goes_on "with --netpol-keep-established it goes on" kept
expect "and nobody new comes in" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-web"
kill $(jobs -p)
