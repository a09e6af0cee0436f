#!/usr/bin/env bash
# --run-service-proxy alone: only the proxy's part of Linux is touched.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }

others() { # others: what the router and the firewall would touch
  on sh -c '
    ip -o link show | sed "s/^[0-9]*: //" | grep -v kube-dummy-if | cut -d" " -f1 | sort
    ip route show table main | sort; ip -6 route show table main | grep -v kube-dummy-if | sort
    ip rule show; ip -6 rule show
    iptables -S FORWARD; ip6tables -S FORWARD; iptables -S OUTPUT; iptables -t raw -S
    ls /etc/cni/net.d; ss -Hlnt | awk "{ print \$4 }" | grep -v ":20244$" | sort' 2>&1
}
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
before=$(others)
$LAB agent flags node1 -- --run-service-proxy
$LAB agent start node1
settle
expect "the proxy serves" "$(ask pod-default-client $VIP 8080 6 | answered_by)" "$(all_three 2)"
after=$(others)
[ "$after" = "$before" ] || fail "links, routes, rules, forwarding and CNI are left alone" "$(diff <(echo "$before") <(echo "$after"))"
pass "links, routes, rules, forwarding and CNI are left alone"
expect "all sets are the proxy's" "$(on ipset list -n | grep -cvE '^(inet6:)?kube-router-(local-ips|svip|svip-prt|svip-reject|svip-drop|svip-limited|svip-src|svip-range)$')" "0"
expect "all chains are the proxy's" "$(on iptables-save | grep -oE '^:KUBE[A-Z-]+' | sort | tr '\n' ' ')" ":KUBE-ROUTER-MASQUERADE :KUBE-ROUTER-SERVICES :KUBE-ROUTER-SVC-OUT :KUBE-ROUTER-SVC-REFUSE :KUBE-ROUTER-SVC-VERDICT "

# With none of the three nothing is touched.
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
$LAB agent flags node1 -- --run-service-proxy=false
$LAB agent start node1
expect "without it no IPVS" "$(on ipvsadm -Sn)" ""
expect "no sets" "$(on ipset list -n)" ""
expect "no chains" "$(on iptables-save | grep -c KUBE-)" "0"
