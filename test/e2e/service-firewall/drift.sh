#!/usr/bin/env bash
# What others flush, delete or change of the firewall comes back within a second; rules and counters of theirs stay.
. "$(dirname "$0")/lib.sh"

state() { # state: sets, chains and jumps of ours, without counters; few processes, which are slow in the lab
  on sh -c 'ipset save; iptables-save; ip6tables-save' | grep -v '^[#:]' | sed 's/\[[0-9:]*\]//; /^create/s/ hashsize.*timeout 0.*$//; /^create/s/ bucketsize.*$//' | sort
}
on iptables -A INPUT -s 203.0.113.9 -m comment --comment "an admin's" -j DROP
on ipset create admins hash:ip
on ipset add admins 203.0.113.8
on ping -c 3 -i 0.2 192.168.50.12 >/dev/null
on iptables -I INPUT -s 192.168.50.12 -m comment --comment counted
on ping -c 3 -i 0.2 192.168.50.12 >/dev/null
sleep 2 # the jump goes back to the first place
counted() { on iptables -nvxL INPUT | awk '/counted/ { print $1 }'; }
count=$(counted)
before=$(state)
snapshot() { diff <(printf '%s\n' "$before") <(state); } # what `within` prints where it fails
same() { [ "$(state)" = "$before" ]; }

repaired() { # repaired DESCRIPTION COMMAND…
  local description=$1
  shift
  on "$@" || fail "$description can be broken" "$*"
  within "${SECONDS_ALLOWED:-15}" "$description is repaired" same
}

repaired "a flushed chain" iptables -F KUBE-ROUTER-SERVICES
repaired "a flushed IPv6 chain" ip6tables -F KUBE-ROUTER-SVC-VERDICT
repaired "a jump that was deleted" iptables -D INPUT "$(on iptables -nL INPUT --line-numbers | awk '/KUBE-ROUTER-SERVICES/ { print $1 }')"
repaired "a deleted rule" ip6tables -D KUBE-ROUTER-SERVICES 8
repaired "a foreign rule in our chain" iptables -I KUBE-ROUTER-SERVICES -j ACCEPT
repaired "a chain that is gone" sh -c 'iptables -t mangle -F OUTPUT; iptables -t mangle -F KUBE-ROUTER-SVC-OUT; iptables -t mangle -X KUBE-ROUTER-SVC-OUT'
repaired "a set member that was deleted" ipset del kube-router-svip-prt 10.96.1.1,tcp:80
repaired "an IPv6 set member that was deleted" ipset del inet6:kube-router-svip fd00:96::1
repaired "a foreign member of our set" ipset add kube-router-svip 203.0.113.7
repaired "a flushed set" ipset flush kube-router-svip-prt
# The number of members says nothing of this one: sets are compared in turn.
SECONDS_ALLOWED=30 repaired "a member that was exchanged" sh -c 'ipset del kube-router-svip-prt 10.96.1.1,tcp:80; ipset add kube-router-svip-prt 10.96.1.1,tcp:81'
repaired "sets and chains that are gone" sh -c 'iptables -F INPUT; iptables -A INPUT -s 192.168.50.12 -m comment --comment counted -c 3 252; iptables -A INPUT -s 203.0.113.9 -m comment --comment "an admin'"'"'s" -j DROP; iptables -F KUBE-ROUTER-SERVICES; iptables -F KUBE-ROUTER-SVC-VERDICT; ipset destroy kube-router-local-ips; ipset destroy kube-router-svip-limited'
$LAB agent logs one | grep -q 'Repaired Linux.*ipset kube-router-svip-prt member 10.96.1.1,tcp:80' || fail "the log says what was repaired" "$($LAB agent logs one | tail -n 5)"
pass "the log says what was repaired"
expect "others' counters go on" "$(counted)" "$count"
expect "others' sets stay" "$(on ipset list admins | tail -n 1)" "203.0.113.8"
listen 9000
expect "the firewall holds" "$(results TCP 9000 client-outside -- 10.96.1.1 fd00:96::1)" "$(every refused client-outside -- 10.96.1.1 fd00:96::1)"

plan=$($LAB run one -- plan 2>&1)
expect "nothing is planned" "$? $plan" "0 "
