#!/usr/bin/env bash
# What others own stands byte for byte through start, 1,000 random changes of Services with a kill -9 in the middle, and
# cleanup; and whatever the history, Linux is what a new agent makes of the same cluster on a clean node.
. "$(dirname "$0")/../agent/lib.sh"
on() { $LAB exec node-one "$@"; }

state() { # state: all of node one's Linux that a proxy might touch, without counters, in an order that says nothing of history
  on bash -c '
    part() { sed "s/^/$1 /"; }
    ipvsadm -Sn | sort | part ipvs
    for v in "" 6; do ip${v}tables-save | grep -v "^#" | sed -E "s/ \[[0-9]+:[0-9]+\]$//; s/^\[[0-9]+:[0-9]+\] //" | part "ip${v}tables"; done
    ipset save | sort | sed -E "s/ (hashsize|initval|bucketsize) [0-9a-fx]+//g" | part ipset
    for v in 4 6; do
      ip -$v -o addr show 2>/dev/null | sed -E "s/^[0-9]+: //; s/@[^ ]+//; /fe80:/d" | sort | part "addr"
      ip -$v route show table all | sed -E "/fe80:|ff00:/d" | sort | part "route$v"
      ip -$v rule show | part "rule$v"
    done
    ip -o link show 2>/dev/null | sed -E "s/^[0-9]+: //; s/@[^ ]+//; s/ (state|mode|link\/|master) .*//; /^veth/d" | sort | part link
    sysctl -a 2>/dev/null | grep -E "^net\.(ipv4\.vs\.|ipv4\.conf\.[a-z-]+\.(rp_filter|arp_)|ipv4\.ip_forward|ipv6\.conf\.all\.forwarding|bridge\.)" | sort | part sysctl
    bridge -d link show | grep -o "hairpin [a-z]*" | part bridge'
}

stands() { # stands DESCRIPTION: every line of $foreign is there, in its order
  local lost
  lost=$(diff <(printf '%s\n' "$foreign") <(state) | grep '^<' | grep -v '^< \(sysctl\|bridge\|link lo\) ')
  [ -z "$lost" ] || fail "$1" "$lost"
  pass "$1"
}

same() { # same DESCRIPTION WANTED: Linux is exactly that
  local now
  now=$(state)
  [ "$now" = "$2" ] || fail "$1" "$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$now"))"
  pass "$1"
}

change() { # change FROM TO: carries these batches out, without waiting for the agent
  local batch file
  for ((batch = $1; batch <= $2; batch++)); do
    file=$(printf '%s/changes/%03d' "$LAB_OUT" "$batch")
    # Slices that are not there any more are no matter.
    [ ! -e "$file-1-delete.json" ] || $LAB delete "$file-1-delete.json" 2>/dev/null
    $LAB apply "$file-2-apply.json" || fail "batch $batch is applied" ""
  done
}

# Others' things of every kind, some of them where Services will want theirs, all on a node without a trace of ours.
$LAB agent stop one
$LAB run one -- cleanup >/dev/null || fail "cleanup" ""
on bash -e -c '
  ipvsadm -R <<EOF
-A -t 10.96.0.1:9999 -s wrr
-a -t 10.96.0.1:9999 -r 10.244.2.7:9 -g -w 7
-A -u 10.96.0.99:53 -s lc -p 30
-a -u 10.96.0.99:53 -r 10.244.2.8:53 -m -w 2
-A -t [fd00:96::3]:80 -s sh
-A -f 7 -s mh
-a -f 7 -r 10.244.2.9 -i -w 1
EOF
  ip link add other type dummy; ip link set other up
  ip link add kube-ipvs0 type dummy
  ip addr add 203.0.113.3/32 dev other; ip addr add 10.96.0.4/32 dev lo; ip addr add 10.96.0.5/32 dev kube-ipvs0
  ip addr add fd00:96::4/128 dev other; ip addr add 172.31.0.1/16 dev other
  ip route add 203.0.113.64/26 dev other proto static; ip route add 10.96.0.6/32 dev other
  ip route add local 10.96.0.7/32 dev lo table local; ip route add default via 172.31.0.9 table 100
  ip route add 192.0.2.0/24 dev other table 78; ip -6 route add fd00:77::/64 dev other metric 7
  ip rule add from 203.0.113.0/24 lookup 100 priority 5000; ip rule add fwmark 7 lookup 78 priority 32764
  ip -6 rule add from fd00:77::/64 lookup 100 priority 5000
  ipset create KUBE-CLUSTER-IP hash:ip,port; ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:80
  ipset create others6 hash:ip family inet6 timeout 0; ipset add others6 fd00:96::1
  for v in "" 6; do iptables=ip${v}tables
    $iptables -N KUBE-FOREIGN; $iptables -A KUBE-FOREIGN -p tcp --dport 1 -j DROP
    $iptables -A INPUT -j KUBE-FOREIGN; $iptables -I FORWARD -m comment --comment "another one" -j ACCEPT
    $iptables -t nat -N KUBE-SERVICES; $iptables -t nat -A PREROUTING -j KUBE-SERVICES
    $iptables -t nat -A KUBE-SERVICES -p tcp --dport 2 -m comment --comment "kube-router looks for this" -j RETURN
    $iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
    $iptables -t mangle -N KUBE-ROUTERS-OTHER; $iptables -t mangle -I OUTPUT -p udp --dport 3 -j KUBE-ROUTERS-OTHER
    $iptables -t mangle -A PREROUTING -p tcp --dport 4 -j MARK --set-xmark 0x7/0xffffffff
  done
  iptables -A KUBE-FOREIGN -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
' || fail "others set the node up" ""
foreign=$(state)

seed=${SEED:-1}
mkdir -p "$LAB_OUT/changes"
"$(dirname "$0")/random-changes.py" "$seed" 1000 "$LAB_OUT/changes"
$LAB agent start one
stands "others' state stands after a start"
change 1 20
$LAB agent kill one
change 21 22
$LAB agent start one
stands "others' state stands after a kill -9 in the middle of 1,000 changes, and a new start"
change 23 40
settle
plan=$($LAB run one -- plan 2>"$LAB_OUT/problems")
[ $? = 0 ] || fail "after 1,000 random changes (seed $seed) the plan is empty" "$plan"
expect "after 1,000 random changes (seed $seed) the plan is empty" "$plan" ""
grep -q 'conflict: ipvs.service udp 10.96.0.99:53: .*not ours' "$LAB_OUT/problems" || fail "what others hold is named" "$(cat "$LAB_OUT/problems")"
pass "what others hold is named"
stands "others' state stands after 1,000 random changes"
state >"$LAB_OUT/after"
pods() { for pod in a-1 a-2; do $LAB exec "pod-default-$pod" sh -c 'ip -o link; ip -o addr' | grep kube-tunnel | sed -E 's/^[0-9]+: //' | sort; done; }
pods >"$LAB_OUT/pods"

$LAB agent stop one
$LAB run one -- cleanup >/dev/null || fail "cleanup succeeds" ""
same "cleanup leaves others' state, and not a byte more" "$foreign"
expect "nor anything in pods" "$(pods)" ""
on sh -c 'rm -rf /run/routelet/*'
$LAB agent start one
settle
same "a new agent on a clean node makes the same of the same cluster" "$(cat "$LAB_OUT/after")"
expect "in pods too" "$(pods)" "$(cat "$LAB_OUT/pods")"
