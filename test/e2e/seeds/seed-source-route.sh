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

# Somebody takes the source away: the agent puts it back within a second, and says so.
$LAB exec node-node3 ip route replace local $VIP dev kube-dummy-if table local proto kernel scope host src $VIP
sleep 1
expect "the agent puts the source back within a second" \
  "$($LAB exec node-node3 ip route show table local $VIP | grep -c 'src 192.168.123.249')" "1"
$LAB agent logs node3 | grep 'Repaired Linux' | grep -q "route local $VIP" || fail "the log says what was repaired" "$($LAB agent logs node3)"
pass "the log says what was repaired"
expect "calls still reach the three pods" "$(ask node-node3 $VIP 8080 3 | answered_by)" "$(all_three 1)"
