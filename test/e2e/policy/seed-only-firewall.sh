#!/usr/bin/env bash
# --run-firewall alone: only the firewall's part of Linux is touched.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }

others() { # others: what the proxy and the router would touch
  on sh -c '
    ip -o link show | sed "s/^[0-9]*: //" | cut -d" " -f1 | sort
    ip -o addr show | awk "{ print \$2, \$4 }" | sort
    ip route show table all | sort; ip -6 route show table all | grep -v fe80 | sort
    ip rule show; ip -6 rule show
    ipvsadm -Sn
    for t in nat mangle raw; do iptables -t $t -S; ip6tables -t $t -S; done
    ls /etc/cni/net.d; ss -Hlnt | awk "{ print \$4 }" | grep -v ":20244$" | sort' 2>&1
}
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
before=$(others)
$LAB agent flags node1 -- --run-service-proxy=false --run-firewall
$LAB agent start node1
policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }'
expect "the firewall decides" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-db a-web"
after=$(others)
[ "$after" = "$before" ] || fail "links, addresses, routes, rules, IPVS, other tables and CNI are left alone" "$(diff <(echo "$before") <(echo "$after"))"
pass "links, addresses, routes, rules, IPVS, other tables and CNI are left alone"
expect "all sets are the firewall's" "$(on ipset list -n | grep -cvE '^(inet6:)?(KUBE-(SRC|DST)-[A-Z2-7]{16}|kube-router-local-pods)$')" "0"
expect "all chains are the firewall's" "$(on iptables-save -t filter | grep -E '^:KUBE' | grep -cvE '^:KUBE-(ROUTER-(INPUT|FORWARD|OUTPUT)|POD-FW-[A-Z2-7]{16}|NWPLCY-([A-Z2-7]{16}|DEFAULT|COMMON|TAIL)) ')" "0"
expect "they are jumped to first" "$(on iptables-save -t filter | grep -E '^-A (INPUT|FORWARD|OUTPUT) ' | head -3 | awk '{ print $2, $NF }' | sort)" \
  "$(table "FORWARD KUBE-ROUTER-FORWARD" "INPUT KUBE-ROUTER-INPUT" "OUTPUT KUBE-ROUTER-OUTPUT")"

$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
expect "cleanup opens it" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$(everyone)"
expect "no sets are left" "$(on ipset list -n)" ""
expect "no chains are left" "$(on sh -c 'iptables-save; ip6tables-save' | grep -c KUBE-)" "0"
