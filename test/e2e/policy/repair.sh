#!/usr/bin/env bash
# What others flush, delete or add in rules and sets of the firewall is repaired at once; rules of theirs stay.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }
rules() { on sh -c 'ipset save; iptables-save -t filter; ip6tables-save -t filter' | grep -v '^[#:]' | sed 's/\[[0-9:]*\]//; /^create/s/ hashsize.*$//' | sort; }
closed() { # closed: what policies deny is denied, what they allow is allowed
  [ "$(rules)" = "$before" ]
}
snapshot() { diff <(printf '%s\n' "$before") <(rules); }
policy a/web '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }], ports: [{ port: 80 }] }] }'
on iptables -A INPUT -s 203.0.113.9 -m comment --comment "an admin's" -j DROP
on iptables -I FORWARD -s 203.0.113.9 -m comment --comment "another's" -j ACCEPT
sleep 2 # the jump goes back to the first place
before=$(rules)
pod=$(on iptables-save -t filter | awk '/a\/web reject/ { print $2; exit }')
policy_chain=$(on iptables-save -t filter | awk '/a\/web ingress/ { print $2; exit }')
target=$(on ipset list -n | grep '^KUBE-DST' | head -1)

break_it() { # break_it DESCRIPTION COMMAND: and how long it was open
  local description=$1
  shift
  knock pod-b-db tcp:10.1.1.2:80
  sleep 0.5
  on "$@" || fail "$description can be broken" "$*"
  sleep 0.5 # looking takes most of the lab's one processor, which the repair needs
  within 15 "$description is repaired" closed
  sleep 0.2
  enough
  pass "it was open for $(knocks pod-b-db tcp:10.1.1.2:80 4) ms"
  expect "it is closed again" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-db a-web"
}
break_it "a flushed top chain" iptables -F KUBE-ROUTER-FORWARD
break_it "a flush of everything" sh -c 'iptables -F; ip6tables -F; iptables -A INPUT -s 203.0.113.9 -m comment --comment "an admin'"'"'s" -j DROP; iptables -I FORWARD -s 203.0.113.9 -m comment --comment "another'"'"'s" -j ACCEPT'
break_it "a rule that lets all in" iptables -I "$pod" -j ACCEPT
break_it "a policy's flushed chain" iptables -F "$policy_chain"
break_it "a flushed target set" ipset flush "$target"
break_it "all sets, flushed" ipset flush
expect "rules of others stand" "$(on iptables-save -t filter | grep -c "203.0.113.9")" "2"
plan=$($LAB run node1 -- plan 2>&1)
expect "nothing is planned" "$? $plan" "0 "
