#!/usr/bin/env bash
# Others' rules, chains, counters, policies of chains, sets and tables, beside ours in the same tables, through start, 1,000 random changes of
# policies, pods and namespaces with a kill -9 in the middle, a switch to the other backend and back, and cleanup; and Linux is a function
# of the cluster alone. BACKEND: nft or legacy, the variant of iptables that holds all rules; or nftables, with others' in iptables-nft.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }
case ${BACKEND:=nft} in
nftables) VARIANT=nft NETFILTER=nftables ELSEWHERE=iptables ;;
*) VARIANT=$BACKEND NETFILTER=iptables ELSEWHERE=nftables ;;
esac
state() { # state: counters of rules too; those of Linux's own chains count our traffic
  on sh -c "iptables-$VARIANT-save -c; ip6tables-$VARIANT-save -c; ipset save | sort; nft list table inet others; nft list tables" 2>/dev/null |
    grep -v '^#' | sed -E 's/^(:(INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) [A-Z]+) .*/\1/; s/ (hashsize|initval|bucketsize) [0-9a-fx]+//g
      /^table (ip|ip6) (filter|nat|mangle|raw)$/d'
}
iptables_has() { # what the agent made by iptables and ipset, without counters, in an order that says nothing of history
  state | sed -E 's/^\[[0-9]+:[0-9]+\] //' | grep -E 'KUBE-(ROUTER|POD-FW|NWPLCY|SRC|DST)|kube-router' | awk '/^-A/ { print $2, NR, $0; next } { print $0 }' |
    awk '/^[A-Z]/ && $2 ~ /^[0-9]+$/ { n[$1]++; $2 = sprintf("%05d", n[$1]) } { print }' | sort
}
nftables_has() {
  on nft list ruleset 2>/dev/null | sed -nE '/^table ip6? routelet \{/,/^\}/p' | sed 's/packets [0-9]* bytes [0-9]*//' |
    awk '/^table/ { t = $2; c = ""; n = 0 } /^\t(chain|set) / { c = $2; n = 0 } /[^ \t}]/ { print t, c, sprintf("%05d", n++), $0 }' | sort
}
ours() { "${NETFILTER}_has"; }
nothing_elsewhere() { [ -z "$("$1_has")" ]; }
switch() { # switch BACKEND: node1's agent starts with it, and what it had in the other is gone soon
  local before=iptables
  [ "$1" = nftables ] || before=nftables
  $LAB agent flags node1 -- --run-service-proxy=false --netpol-default-deny "--netfilter=$1"
  $LAB agent restart node1
  $LAB wait >/dev/null
  within 20 "of $before nothing is left" nothing_elsewhere $before
}
snapshot() { iptables_has | head -n 20; nftables_has | head -n 20; }
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
$LAB agent flags node1 -- --run-service-proxy=false --netpol-default-deny "--netfilter=$NETFILTER"
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
# What kubelet leaves, by which the variant is known.
on "iptables-$VARIANT" -t mangle -N KUBE-IPTABLES-HINT || fail "this Linux has iptables-$VARIANT" ""
on env V="$VARIANT" sh -e -c '
  ipset create others hash:ip timeout 0; ipset add others 203.0.113.5
  ipset create KUBE-CLUSTER-IP hash:ip,port; ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:80
  ipset create KUBE-6-OF-OTHERS hash:net family inet6; ipset add KUBE-6-OF-OTHERS 2001:db8::/32
  for v in "" 6; do t=ip${v}tables-$V
    $t -P FORWARD DROP; $t -t mangle -P OUTPUT ACCEPT
    $t -N KUBE-FORWARD; $t -A KUBE-FORWARD -c 3 180 -m mark --mark 0x4000/0x4000 -j ACCEPT
    $t -A FORWARD -j KUBE-FORWARD; $t -I FORWARD -c 1 40 -p tcp --dport 9 -m comment --comment "foreign, with \"quotes\"" -j DROP
    $t -A INPUT -p tcp --dport 7 -c 12 345 -j ACCEPT; $t -t mangle -A PREROUTING -p udp --dport 5 -c 9 99 -j MARK --set-xmark 0x20000/0x20000
    $t -N KUBE-POD-OF-OTHERS; $t -A OUTPUT -c 5 55 -p tcp --dport 6 -j KUBE-POD-OF-OTHERS
    $t -N KUBE-NETPOL; $t -t nat -N KUBE-SERVICES; $t -t nat -A KUBE-SERVICES -p tcp --dport 2 -c 8 88 -j RETURN
  done
  iptables-$V -A FORWARD -m set --match-set others src -c 2 20 -p tcp --dport 8 -j DROP
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
switch $ELSEWHERE
stands "after the switch to $ELSEWHERE"
change 23 26
$LAB wait >/dev/null
stands "through changes there"
switch $NETFILTER
stands "after the switch back to $NETFILTER"
change 27 40
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
