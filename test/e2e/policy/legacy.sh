#!/usr/bin/env bash
# The same on a host whose rules are those of iptables-legacy.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
# What kubelet leaves for this very question.
on iptables-legacy -t mangle -N KUBE-IPTABLES-HINT || fail "this Linux has ip_tables" ""
on iptables-legacy -A INPUT -s 203.0.113.9 -m comment --comment "an admin's" -j DROP
$LAB agent start node1
policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Ingress, Egress], ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }, { ipBlock: { cidr: 192.168.1.0/24, except: [192.168.1.99/32] } }], ports: [{ port: http }] }], egress: [{ to: [{ ipBlock: { cidr: "::/0" } }] }] }'
expect "rules are legacy's" "$(on iptables-legacy-save | grep -c '^:KUBE-POD-FW-') $(on iptables-nft-save 2>/dev/null | grep -c KUBE-)" "3 0"
expect "they decide" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-db a-web"
expect "on the way out too" "$(reach TCP 80 pod-a-web -- 10.1.2.3 fd01:2::3)" "$(table "pod-a-web 10.1.2.3 no" "pod-a-web fd01:2::3 yes")"
rules() { on sh -c 'iptables-legacy-save -t filter; ip6tables-legacy-save -t filter' | grep -v '^[#:]' | sort; }
snapshot() { diff <(printf '%s\n' "$before") <(rules); }
same() { [ "$(rules)" = "$before" ]; }
before=$(rules)
on iptables-legacy -F KUBE-ROUTER-FORWARD
within 15 "a flush is repaired" same
$LAB agent kill node1
$LAB agent start node1
expect "a new start changes nothing" "$(snapshot)" ""
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null || fail "cleanup succeeds" ""
expect "cleanup leaves others' alone" "$(on iptables-legacy-save | grep -cE '^:KUBE-IPTABLES-HINT|203.0.113.9') $(on sh -c 'iptables-legacy-save; ip6tables-legacy-save' | grep -cE 'KUBE-(ROUTER|NWPLCY|POD)')" "2 0"
