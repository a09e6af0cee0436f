#!/bin/bash
# What kube-router left is taken over in place: n1's routes and tunnels get its marks, and the agent starts upon them.
. "$(dirname "$0")/lib.sh"

$LAB wait >/dev/null || fail "the agents did not settle" ""
until_true "every pod reaches every other one, in both families" pods_reach_each_other
before=$(routes n1 4; routes n1 6)
has "n3 is behind a tunnel" "$before" "10.244.3.0/24 dev tun-"

# The agent goes without a word, as a kube-router that was replaced, and nothing says any more that this was ours.
$LAB agent kill n1
tunnels=$(on n1 ip -o link show | grep -o 'tun-[0-9a-f]*' | sort -u)
for tunnel in $tunnels; do on n1 ip link set "$tunnel" alias ""; done
for family in 4 6; do
  for table in main 77; do
    proto=17
    [ "$table" = 77 ] && proto=boot
    on n1 ip "-$family" route show table "$table" proto 202 | while read -r route; do
      # shellcheck disable=SC2086 # the words of the route
      on n1 ip "-$family" route replace ${route/ pref medium/} table "$table" proto "$proto"
    done
  done
done
on n1 sh -c 'rm -f /run/routelet/*'
expect "nothing is marked as ours" "$(routes n1 4)$(routes n1 6)" ""
# Beside that, what nobody wants: a route of kube-router's to a node that is gone, and its tunnel.
on n1 ip link add tun-5c79b9c1639 type ip6tnl local fd00:1::11 remote 2001:db8::1
on n1 ip link set tun-5c79b9c1639 up
on n1 ip -6 route add fd00:244:9::/64 dev tun-5c79b9c1639 proto 17
on n1 ip route add 10.244.9.0/24 via 10.1.0.12 proto 17
pods_reach_each_other >/dev/null || fail "the marks alone carry no traffic" "$(cat "$LAB_OUT/unreached")"

# Whatever is deleted while the agent starts would be a gap.
on n1 ip -ts monitor route link >"$LAB_OUT/monitor" 2>&1 &
monitor=$!
$LAB agent start n1
taken() { [ "$(routes n1 4; routes n1 6)" = "$before" ] || { routes n1 4; routes n1 6; false; }; }
until_true "all that is wanted is ours again" taken
kill "$monitor"
wait "$monitor" 2>/dev/null
deleted=$(grep -E 'Deleted .*(10\.244\.|fd00:244:|tun-)' "$LAB_OUT/monitor")
expect "and was never gone" "$deleted" ""
for tunnel in $tunnels; do
  has "$tunnel has our mark" "$(on n1 ip link show "$tunnel")" "alias routelet:router"
done
until_true "pods reach each other" pods_reach_each_other
$LAB run n1 -- plan >"$LAB_OUT/plan" 2>&1
expect "no route is left to do" "$(grep -v 'CNI\|^#' "$LAB_OUT/plan")" "1 to create, 0 to update, 0 to delete"
left() { on n1 ip route show proto 17; on n1 ip -6 route show proto 17; on n1 ip -o link show | grep -o 'tun-5c79b9c1639' | sort -u; }
has "what nobody wants is still another's" "$(left)" "10.244.9.0/24 via 10.1.0.12"
has "its tunnel too" "$(left)" "fd00:244:9::/64 dev tun-5c79b9c1639"
$LAB agent stop n1
$LAB run n1 -- cleanup >"$LAB_OUT/cleanup" 2>&1 || fail "cleanup failed" "$(cat "$LAB_OUT/cleanup")"
has "cleanup leaves it alone" "$(left)" "10.244.9.0/24 via 10.1.0.12"
lacks "and takes what was taken over" "$(on n1 ip route show table all)" "10.244.3.0/24"
