#!/usr/bin/env bash
# The guide's problem 1: a node that calls a VIP must do so with its own address, or answers never come back.
. "$(dirname "$0")/lib.sh"

route=$($LAB exec node-node3 ip route show table local $VIP | tr -s ' ' | sed 's/ $//')
case " $route " in
  *" src 192.168.123.249 "*) pass "the VIP's host route has the node's address as source" ;;
  *) fail "the VIP's host route has the node's address as source" "$route" ;;
esac
expect "there is one host route" "$(wc -l <<<"$route")" "1"

answers=$(for _ in 1 2 3; do ask node-node3 $VIP 8080 1; done)
expect "three calls reach the three pods" "$(answered_by <<<"$answers")" "$(all_three 1)"
expect "every pod sees the node's address" "$(seen_as <<<"$answers")" "192.168.123.249"

# Without the route the calls hang: this is what it is for.
$LAB agent stop node3
$LAB exec node-node3 ip route replace local $VIP dev kube-dummy-if table local proto kernel scope host src $VIP
hanging=$(ask node-node3 $VIP 8080 3 | grep -c '^timeout')
[ "$hanging" -ge 1 ] || fail "without it calls to other nodes' pods hang" "$hanging of 3"
pass "without it calls to other nodes' pods hang"
$LAB agent start node3
settle
expect "the agent puts it back" "$(ask node-node3 $VIP 8080 3 | answered_by)" "$(all_three 1)"
