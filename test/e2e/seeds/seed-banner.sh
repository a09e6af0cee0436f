#!/bin/bash
# The view on a node: what BGP is configured to, its neighbours, its routes, and why a route is announced or not.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/bgp/lib.sh"

settle
eventually "R1 has sessions with both nodes" r1_established node01 node03
eventually "R2 has sessions with both nodes" r2_established 10.129.6.211 10.129.6.213
bgp() { $LAB run node01 -- bgp "$@"; }
learned() { bgp rib | grep -q '10.244.1.0/24 .*10.129.6.213'; }
eventually "node01 has node03's pods" learned

banner=$($LAB run node01 -- status)
expect_line "the banner names the AS" "$banner" "AS: 64512"
expect_line "the router id" "$banner" "Router-ID: 10.129.6.211"
expect_line "where it listens" "$banner" "Listening Port: 179, Addresses: 10.129.6.211"
for title in "BGP Server Configuration" "BGP Neighbors" "BGP Route Info"; do
  expect_line "it has the section \"$title\"" "$banner" "--- $title ---"
done
expect_line "the IPVS table" "$banner" "--- IPVS Services ---"
table=$($LAB exec node-node01 ipvsadm -Ln)
case "$banner" in
  *"TCP  10.110.133.162:80 sh"*) pass "the IPVS table has the Service as ipvsadm prints it" ;;
  *) fail "the banner lacks the Service of the IPVS table:" "$banner
$table" ;;
esac
establ() { bgp neighbors | tr -s ' ' | grep -qE "^$1 $2 [0-9:]+ Establ \| ?[0-9]+ [0-9]+"; }
eventually "a router outside is a neighbour" establ 10.129.6.91 64513
eventually "so is the other node" establ 10.129.6.213 64512
bgp rib | tee "$LAB_OUT/rib" >/dev/null
grep -q '^\*> 10.244.1.0/24 .*10.129.6.213 .*{Origin: i} {LocalPref: 100}' "$LAB_OUT/rib" ||
  fail "the other node's pods have no LocalPref 100:" "$(cat "$LAB_OUT/rib")"
pass "the other node's pods are there with LocalPref 100"
grep -q '^\*> 10.33.1.11/32 .*{Origin: i}' "$LAB_OUT/rib" || fail "no VIP:" "$(cat "$LAB_OUT/rib")"
pass "and the VIPs"
bgp neighbors 10.129.6.91 >"$LAB_OUT/neighbor"
grep -q 'BGP state = ESTABLISHED' "$LAB_OUT/neighbor" || fail "one neighbour" "$(cat "$LAB_OUT/neighbor")"
pass "one neighbour is shown in full"

why=$(bgp why 10.33.1.11)
echo "$why" >"$LAB_OUT/why"
expect_line "why: the Service" "$why" 'Service "default/nginx01" has it announced'
echo "$why" | grep -q '^  advertised to 10.129.6.91' || fail "routers outside must get VIPs" "$why"
pass "why: routers outside get it"
echo "$why" | grep -q 'not advertised to 10.129.6.213' || fail "nodes must not get VIPs" "$why"
pass "why: nodes do not"
why=$(bgp why 10.244.1.0/24)
echo "$why" >>"$LAB_OUT/why"
expect_line "why: how it is in Linux" "$why" "in Linux: 10.244.1.0/24 via 10.129.6.213 dev eth0 table 254"
expect "the same as JSON" "$(bgp neighbors --output json | jq -r '.neighbors | length')" 3
bgp why nowhere 2>"$LAB_OUT/error" && fail "nonsense was answered" ""
expect "nonsense is refused" "$(cat "$LAB_OUT/error")" 'routelet: "nowhere" is no network and no address'
