#!/usr/bin/env bash
# Others' rules, chains, counters, policies of chains, sets and tables, beside ours in the same tables, through start, 1,000 random changes of
# policies, pods and namespaces with a kill -9 in the middle, and cleanup; and Linux is a function of the cluster alone.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }
state() { # state: counters of rules too; those of Linux's own chains count our traffic
  on sh -c 'iptables-save -c; ip6tables-save -c; ipset save | sort; nft list table inet others 2>/dev/null' |
    grep -v '^#' | sed -E 's/^(:(INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) [A-Z]+) .*/\1/; s/ (hashsize|initval|bucketsize) [0-9a-fx]+//g'
}
ours() { # ours: what the agent made, without counters, in an order that says nothing of history
  state | sed -E 's/^\[[0-9]+:[0-9]+\] //' | grep -E 'KUBE-(ROUTER|POD-FW|NWPLCY|SRC|DST)|kube-router' | awk '/^-A/ { print $2, NR, $0; next } { print $0 }' |
    awk '/^[A-Z]/ && $2 ~ /^[0-9]+$/ { n[$1]++; $2 = sprintf("%05d", n[$1]) } { print }' | sort
}
stands() { # stands DESCRIPTION: every line of others is there, in its order
  local lost
  lost=$(diff <(printf '%s\n' "$foreign") <(state) | grep '^<')
  [ -z "$lost" ] || fail "$1" "$lost"
  pass "$1"
}
change() { # change FROM TO: carries these batches out, without waiting for the agent
  local batch file
  for ((batch = $1; batch <= $2; batch++)); do
    file=$(printf '%s/changes/%03d' "$LAB_OUT" "$batch")
    [ ! -e "$file-1-delete.json" ] || $LAB delete "$file-1-delete.json" 2>/dev/null
    [ ! -e "$file-2-apply.json" ] || $LAB apply "$file-2-apply.json" || fail "batch $batch is applied" ""
  done
}

$LAB agent stop node1
$LAB agent flags node1 -- --run-service-proxy=false --run-firewall --netpol-default-deny
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
on sh -e -c '
  ipset create others hash:ip timeout 0; ipset add others 203.0.113.5
  ipset create KUBE-CLUSTER-IP hash:ip,port; ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:80
  ipset create KUBE-6-OF-OTHERS hash:net family inet6; ipset add KUBE-6-OF-OTHERS 2001:db8::/32
  for v in "" 6; do t=ip${v}tables
    $t -P FORWARD DROP; $t -t mangle -P OUTPUT ACCEPT
    $t -N KUBE-FORWARD; $t -A KUBE-FORWARD -c 3 180 -m mark --mark 0x4000/0x4000 -j ACCEPT
    $t -A FORWARD -j KUBE-FORWARD; $t -I FORWARD -c 1 40 -p tcp --dport 9 -m comment --comment "foreign, with \"quotes\"" -j DROP
    $t -A INPUT -p tcp --dport 7 -c 12 345 -j ACCEPT; $t -t mangle -A PREROUTING -p udp --dport 5 -c 9 99 -j MARK --set-xmark 0x20000/0x20000
    $t -N KUBE-POD-OF-OTHERS; $t -A OUTPUT -c 5 55 -p tcp --dport 6 -j KUBE-POD-OF-OTHERS
    $t -N KUBE-NETPOL; $t -t nat -N KUBE-SERVICES; $t -t nat -A KUBE-SERVICES -p tcp --dport 2 -c 8 88 -j RETURN
  done
  iptables -A FORWARD -m set --match-set others src -c 2 20 -p tcp --dport 8 -j DROP
  nft -f - 2>/dev/null <<NFT || true
table inet others {
  set s { type ipv4_addr; elements = { 203.0.113.9 }; }
  chain c { type filter hook forward priority 5; policy accept; tcp dport 4 ip saddr @s counter packets 6 bytes 66 drop; }
}
NFT' || fail "others set the node up" ""
foreign=$(state)

seed=${SEED:-1}
mkdir -p "$LAB_OUT/changes"
"$(dirname "$0")/random-changes.py" "$seed" 1000 "$LAB_OUT/changes"
$LAB agent start node1
stands "others' state stands beside ours"
change 1 20
$LAB agent kill node1
change 21 22
$LAB agent start node1
stands "after kill -9 in the middle of 1,000 changes, and a new start"
change 23 40
$LAB wait >/dev/null
stands "after 1,000 changes"
plan=$($LAB run node1 -- plan 2>&1 | grep -v problem)
expect "nothing is planned" "$plan" ""
after=$(ours)
[ "$(wc -l <<<"$after")" -gt 200 ] || fail "there is much to keep" "$after"
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null || fail "cleanup succeeds" ""
now=$(state)
[ "$now" = "$foreign" ] || fail "cleanup leaves others' state, and not a byte more" "$(diff <(printf '%s\n' "$foreign") <(printf '%s\n' "$now"))"
pass "cleanup leaves others' state, and not a byte more"
on sh -c 'rm -rf /run/routelet/*'
$LAB agent start node1
$LAB wait >/dev/null
now=$(ours)
[ "$now" = "$after" ] || fail "a new agent on a clean node makes the same of the same cluster" "$(diff <(printf '%s\n' "$after") <(printf '%s\n' "$now") | head -n 40)"
pass "a new agent on a clean node makes the same of the same cluster: $(wc -l <<<"$after") lines"
