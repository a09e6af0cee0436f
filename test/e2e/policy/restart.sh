#!/usr/bin/env bash
# kill -9, stop and start under load: what is denied never opens, what is allowed is never cut.
. "$(dirname "$0")/lib.sh"
policy a/web '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }], ports: [{ port: 80 }] }] }'
policy a/dns '{ podSelector: { matchLabels: { app: dns } }, ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 53, protocol: UDP }] }] }'
policy b/out '{ podSelector: { matchLabels: { app: db } }, policyTypes: [Egress], egress: [{ to: [{ namespaceSelector: { matchLabels: { env: prod } } }] }] }'
plan=$($LAB run node1 -- plan 2>&1)
expect "nothing is planned" "$? $plan" "0 "

knock pod-b-db tcp:10.1.1.2:80 tcp:fd01:1::2:80 udp:10.1.1.3:53 tcp:10.1.2.4:80
knock pod-c-other tcp:10.1.1.2:80 tcp:fd01:1::2:80
knock pod-a-db tcp:10.1.1.2:80 tcp:fd01:1::2:80 udp:10.1.1.3:53
killed_at_starts 0 0.3 0.6 1
$LAB agent start node1
$LAB agent stop node1
# The agent finds another cluster than the one it left.
policy c/any '{ podSelector: {}, ingress: [{}] }' 2>/dev/null
policy a/other '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: none } } }] }] }' 2>/dev/null
$LAB agent start node1
$LAB wait >/dev/null
unpolicy a/other c/any
enough
never "a pod of the same node never came in" pod-b-db tcp:10.1.1.2:80
never "nor over IPv6" pod-b-db tcp:fd01:1::2:80
never "nor by UDP" pod-b-db udp:10.1.1.3:53
never "nor out where egress is closed" pod-b-db tcp:10.1.2.4:80
never "nor a pod of another node" pod-c-other tcp:10.1.1.2:80
never "nor over IPv6" pod-c-other tcp:fd01:1::2:80
always "what is allowed always came in" pod-a-db tcp:10.1.1.2:80
always "over IPv6 too" pod-a-db tcp:fd01:1::2:80
always "by UDP too" pod-a-db udp:10.1.1.3:53
plan=$($LAB run node1 -- plan 2>&1)
expect "and nothing is planned" "$? $plan" "0 "
