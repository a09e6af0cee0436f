#!/usr/bin/env bash
# From iptables to nftables and back, under fire: nothing is let in meanwhile, nothing stays of the one that was left, others' rules
# stay. What others flush or change in our table is repaired at once.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }
ours() { on nft list ruleset | sed -n '/^table ip6\{0,1\} routelet {/,/^}/p' | sed 's/packets [0-9]* bytes [0-9]*//'; }
of_iptables() { on sh -c 'ipset list -n; iptables-save; ip6tables-save' | grep -cE 'KUBE-|kube-router-'; }
of_others() { on nft list ruleset | sed -n '/^table inet admins {/,/^}/p' | sed 's/packets [0-9]* bytes [0-9]*//'; }
switch() { # switch FLAGS…: node1's agent starts anew with them
  $LAB agent flags node1 -- "$@"
  $LAB agent restart node1
  $LAB wait >/dev/null
}
none_of_iptables() { [ "$(of_iptables)" = 0 ]; }
none_of_ours() { [ -z "$(ours)" ]; }
whole() { [ "$(ours | sort)" = "$before" ]; }

on nft -f - <<'NFT' || fail "others set the node up" ""
table inet admins {
  set friends { type ipv4_addr; elements = { 203.0.113.9 } }
  chain input { type filter hook input priority 0; policy accept; ip saddr 203.0.113.8 counter drop; ip saddr @friends accept; }
}
NFT
others=$(of_others)
[ -n "$others" ] || fail "others have a table" "$(on nft list ruleset)"
policy a/web '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }, { ipBlock: { cidr: 10.1.0.0/16, except: [10.1.2.0/24, 10.1.1.4/32] } }, { ipBlock: { cidr: 10.1.2.3/32 } }], ports: [{ port: http }] }] }'
wanted=$(who TCP 80 10.1.1.2 fd01:1::2)

knock pod-b-db tcp:10.1.1.2:80
knock pod-a-db tcp:10.1.1.2:80
switch --netfilter=nftables
within 20 "of iptables nothing is left" none_of_iptables
enough
never "the switch let nobody in" pod-b-db tcp:10.1.1.2:80
always "and shut nobody out" pod-a-db tcp:10.1.1.2:80
expect "on nftables the policy holds as before" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$wanted"
expect "others' table is as it was" "$(of_others)" "$others"
expect "tables of ours are two" "$(on nft list tables | grep -c routelet)" "2"
expect "nothing is planned" "$($LAB run node1 -- plan 2>&1; echo $?)" "0"

before=$(ours | sort)
pod=$(on nft list table ip routelet | awk '/^\tchain KUBE-POD-FW-/ { chain = $2 } /a\/web reject/ { print chain; exit }')
block=$(on nft list sets ip | awk '/^\tset KUBE-SRC-.*members/ { print $2; exit }')
break_it() { # break_it DESCRIPTION COMMAND: and how long it was open
  local description=$1
  shift
  knock pod-b-db tcp:10.1.1.2:80
  sleep 0.3
  on "$@" || fail "$description can be broken" "$*"
  within 15 "$description is repaired" whole
  enough
  pass "it was open for $(knocks pod-b-db tcp:10.1.1.2:80 4) ms"
}
break_it "a flush of everything" nft flush ruleset
expect "others' table went with it, by their hand" "$(of_others)" ""
on nft add table inet admins
break_it "a rule that lets all in" nft insert rule ip routelet "$pod" accept
break_it "a flushed chain" nft flush chain ip routelet "$pod"
break_it "a flushed set of networks" nft flush set ip routelet "${block%.members}"
break_it "its members, flushed" nft flush set ip routelet "$block"
break_it "the table of IPv6, deleted" nft delete table ip6 routelet
expect "it is closed again" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$wanted"
expect "and nothing is planned" "$($LAB run node1 -- plan 2>&1; echo $?)" "0"

counter() { $LAB run node1 -- policy why b/db a/web TCP/80 --output=json | jq '[.connections[].judgements[].packets] | add'; }
first=$(counter)
reach TCP 80 pod-b-db -- 10.1.1.2 >/dev/null
second=$(counter)
[ "$second" -gt "$first" ] || fail "the counters are those of nftables" "$first, then $second"
pass "the counters are those of nftables"

knock pod-b-db tcp:10.1.1.2:80
knock pod-a-db tcp:10.1.1.2:80
switch --netfilter=iptables
within 20 "of nftables nothing is left" none_of_ours
enough
never "the way back let nobody in" pod-b-db tcp:10.1.1.2:80
always "and shut nobody out" pod-a-db tcp:10.1.1.2:80
expect "others' table is still there" "$(on nft list tables | grep -c admins)" "1"

# Cleanup knows both, whatever the flags.
switch --use-nftables-for-netpol
within 20 "of iptables nothing is left" none_of_iptables
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null || fail "cleanup succeeds" ""
expect "cleanup removes what nftables has" "$(ours)$(of_iptables)" "0"
