#!/usr/bin/env bash
# A policy that cannot be compiled, or whose rules Linux refuses: named with the reason, its pods closed in that direction alone, and all
# others work. BACKEND: iptables, or nftables, where the topology's flags say so.
. "$(dirname "$0")/lib.sh"
BACKEND=${BACKEND:-iptables}
web() { who TCP 80 10.1.1.2 fd01:1::2; }
dns() { who TCP 53 10.1.1.3 fd01:1::3; }
named() { # named DESCRIPTION POLICY PATTERN: the status has a line of this policy with this reason
  $LAB run node1 -- status >"$LAB_OUT/status"
  grep -E "(problem|failed).*policy $2" "$LAB_OUT/status" | grep -qE "$3" || fail "$1" "$(cat "$LAB_OUT/status")"
  pass "$1"
}

policy a/odd '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ ipBlock: { cidr: nonsense } }] }, { ports: [{ protocol: ODD, port: 80 }] }, { from: [{ podSelector: { matchLabels: { app: dns } } }] }] }'
policy a/good '{ podSelector: { matchLabels: { app: dns } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }'
expect "what is understood of a policy works, and the rest opens nothing" "$(web)" "a-dns a-web"
expect "other policies work" "$(dns)" "a-db a-dns"
named "what is not understood is named" a/odd nonsense
unpolicy a/odd

# Its peers are a set of its own, by a condition more.
POISON='podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db }, matchExpressions: [{ key: app, operator: Exists }] } }] }]'
GOOD='{ podSelector: { matchLabels: { app: dns } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }'
tool=$(readlink -f "$(command -v iptables-nft-restore)")
before=$(readlink /usr/sbin/iptables-nft-restore)
poison_iptables() { # a Linux that refuses the rules of one policy over IPv4, as one without a module that they need
  rm /usr/sbin/iptables-nft-restore
  cat >/usr/sbin/iptables-nft-restore <<SH
#!/bin/bash
text=\$(cat; printf x)
line=\$(grep -n -m 1 '"a/poison ingress' <<<"\$text" | cut -d: -f1)
if [ -n "\$line" ]; then
  echo "iptables-nft-restore: line \$line failed: this Linux does not like it" >&2
  exit 1
fi
exec -a iptables-nft-restore "$tool" "\$@" < <(printf '%s' "\${text%x}")
SH
  chmod +x /usr/sbin/iptables-nft-restore
}
heal_iptables() {
  rm /usr/sbin/iptables-nft-restore
  ln -s "$before" /usr/sbin/iptables-nft-restore
}
poison_nftables() { # in place of the set of that policy's peers one of other keys that says it is that set: Linux takes no rule that asks
  # it for an address alone
  $LAB exec node-node1 nft -f - <<NFT || fail "somebody puts a set there" ""
table ip routelet {
  comment "routelet"
  set $peers { type ipv4_addr . inet_service; $said; }
}
NFT
}
heal_nftables() { $LAB exec node-node1 nft delete set ip routelet "$peers" 2>/dev/null; }

if [ "$BACKEND" = nftables ]; then
  if [ "$(printf '%s\n' 6.13 "$(uname -r)" | sort -V | head -n 1)" != 6.13 ]; then
    pass "left out: before 6.13 Linux takes a rule that reads what nobody wrote"
    exit 0
  fi
  policy a/poison "{ $POISON }"
  peers=$($LAB exec node-node1 nft list table ip routelet | grep -oE '@KUBE-SRC-\S+ .*"a/poison ingress' | head -n 1 | cut -d' ' -f1 | tr -d @)
  [ -n "$peers" ] || fail "the policy's rule asks a set" "$($LAB exec node-node1 nft list table ip routelet)"
  said=$($LAB exec node-node1 nft list set ip routelet "$peers" | grep -oE 'comment ".*"')
  unpolicy a/poison
  # While it runs, it removes what claims to be a set of its own and is none that it wants.
  $LAB agent stop node1
fi
"poison_$BACKEND"
policy a/poison "{ $POISON, policyTypes: [Ingress, Egress], egress: [{}] }" 2>/dev/null
[ "$BACKEND" = iptables ] || $LAB agent start node1
$LAB wait >/dev/null
expect "what Linux refuses is closed, in its family" "$(web)" "a-db! a-web"
expect "the other direction is judged by its own rules" "$(reach TCP 80 pod-a-web -- 10.1.2.3 fd01:2::3 | cut -d' ' -f3 | uniq)" "yes"
expect "other policies work" "$(dns)" "a-db a-dns"
named "the status names it" a/poison "does not like it|ENODATA"
expect "the agent is ready all the same" "$($LAB exec node-node1 curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:20244/readyz)" "200"
policy b/late '{ podSelector: { matchLabels: { app: db } }, policyTypes: [Egress], egress: [{ to: [{ namespaceSelector: { matchLabels: { env: prod } } }] }] }'
expect "policies that come later work" "$(reach TCP 80 pod-b-db -- 10.1.2.3 10.1.2.4 | cut -d' ' -f3)" "$(printf 'no\nno')"
$LAB agent kill node1
$LAB agent start node1
$LAB wait >/dev/null
expect "so does all of it after kill -9 and a new start" "$(web) / $(dns)" "a-db! a-web / a-db a-dns"
unpolicy a/poison a/good b/late
expect "without the policies everyone comes in" "$(web)" "$(everyone)"
$LAB agent stop node1
# On a node where nothing is yet: all chains come in one go.
"heal_$BACKEND"
$LAB run node1 -- cleanup >/dev/null || fail "cleanup" ""
policy a/poison "{ $POISON }" 2>/dev/null
policy a/good "$GOOD" 2>/dev/null
"poison_$BACKEND"
$LAB agent start node1
$LAB wait >/dev/null
expect "it is closed on a node where nothing was" "$(web)" "a-db! a-web"
expect "and others work there" "$(dns)" "a-db a-dns"
"heal_$BACKEND"
accepted() { [ "$(web)" = "a-db a-web" ]; }
within 60 "what Linux takes at last is in force" accepted
