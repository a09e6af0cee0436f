#!/usr/bin/env bash
# A policy that cannot be compiled, or whose rules Linux refuses: named with the reason, its pods closed in that direction alone, and all others work.
. "$(dirname "$0")/lib.sh"
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

# A Linux that refuses the rules of one policy over IPv4, as one without a module that they need.
tool=$(readlink -f "$(command -v iptables-nft-restore)")
before=$(readlink /usr/sbin/iptables-nft-restore)
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
policy a/poison '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Ingress, Egress], ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }], egress: [{}] }'
expect "what Linux refuses is closed, in its family" "$(web)" "a-db! a-web"
expect "the other direction is judged by its own rules" "$(reach TCP 80 pod-a-web -- 10.1.2.3 fd01:2::3 | cut -d' ' -f3 | uniq)" "yes"
expect "other policies work" "$(dns)" "a-db a-dns"
named "the status names it" a/poison "does not like it"
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
$LAB run node1 -- cleanup >/dev/null || fail "cleanup" ""
policy a/poison '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }' 2>/dev/null
policy a/good '{ podSelector: { matchLabels: { app: dns } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }' 2>/dev/null
$LAB agent start node1
$LAB wait >/dev/null
expect "it is closed on a node where nothing was" "$(web)" "a-db! a-web"
expect "and others work there" "$(dns)" "a-db a-dns"
rm /usr/sbin/iptables-nft-restore
ln -s "$before" /usr/sbin/iptables-nft-restore
accepted() { [ "$(web)" = "a-db a-web" ]; }
within 60 "what Linux takes at last is in force" accepted
