#!/usr/bin/env bash
# Rules, chains and sets of others are byte for byte as before through start, policies, kill -9, start and cleanup; of ours nothing is left.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }
state() { on sh -c 'iptables-save -c; ip6tables-save -c; ipset save; nft list ruleset 2>/dev/null; sysctl net.bridge 2>/dev/null' | grep -v '^#' | sed -E 's/^(:(INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) [A-Z]+) .*/\1/; s/(counter packets) [0-9]+ bytes [0-9]+/\1/; s/ (hashsize|initval|bucketsize) [0-9a-fx]+//g'; }
$LAB agent stop node1
$LAB agent flags node1 -- --run-service-proxy=false --run-firewall --netpol-default-deny
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
on sh -e -c '
  ipset create others hash:ip; ipset add others 203.0.113.5
  ipset create KUBE-CLUSTER-IP hash:ip,port; ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:80
  for v in "" 6; do t=ip${v}tables
    $t -N KUBE-FORWARD; $t -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
    $t -A FORWARD -j KUBE-FORWARD; $t -I FORWARD -p tcp --dport 9 -m comment --comment "foreign, with \"quotes\"" -j DROP
    $t -A INPUT -p tcp --dport 7 -c 12 345 -j ACCEPT; $t -t mangle -A PREROUTING -p udp --dport 5 -j MARK --set-xmark 0x20000/0x20000
    $t -N KUBE-POD-OF-OTHERS; $t -A OUTPUT -p tcp --dport 6 -j KUBE-POD-OF-OTHERS
  done
  iptables -A FORWARD -m set --match-set others src -p tcp --dport 8 -j DROP' || fail "others set the node up" ""
before=$(state)
$LAB agent start node1
policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Ingress, Egress], ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.0/8, except: [10.1.1.4/32] } }], ports: [{ port: http }] }] }'
policy b/p '{ podSelector: { matchExpressions: [{ key: app, operator: Exists }] }, egress: [{ to: [{ namespaceSelector: {} }] }] }'
lost=$(diff <(printf '%s\n' "$before") <(state) | grep '^<' | grep -v '^< net.bridge')
expect "others' rules, counters and sets stand beside ours" "$lost" ""
expect "their order is kept" "$(on iptables -S FORWARD | grep -v KUBE-ROUTER)" "$(printf '%s\n' '-P FORWARD ACCEPT' '-A FORWARD -p tcp -m tcp --dport 9 -m comment --comment "foreign, with \"quotes\"" -j DROP' '-A FORWARD -j KUBE-FORWARD' '-A FORWARD -p tcp -m set --match-set others src -m tcp --dport 8 -j DROP')"
$LAB agent kill node1
unpolicy b/p 2>/dev/null
$LAB agent start node1
$LAB wait >/dev/null
lost=$(diff <(printf '%s\n' "$before") <(state) | grep '^<' | grep -v '^< net.bridge')
expect "after kill -9 and a new start too" "$lost" ""
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null || fail "cleanup succeeds" ""
now=$(state)
[ "$now" = "$before" ] || fail "cleanup leaves others' state, and not a byte more" "$(diff <(printf '%s\n' "$before") <(printf '%s\n' "$now"))"
pass "cleanup leaves others' state, and not a byte more"
expect "and opens what was closed" "$(reach TCP 80 pod-b-db pod-c-other -- 10.1.1.2 fd01:1::2 | cut -d' ' -f3 | uniq)" "yes"
