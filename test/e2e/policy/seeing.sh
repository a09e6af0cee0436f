#!/usr/bin/env bash
# What is denied is seen: logged to NFLOG group 100 with the policy's name; a policy under audit denies nothing, and logs and counts what it
# would. And two traps measured with kube-router: a policy of both directions, and ports with names.
. "$(dirname "$0")/lib.sh"
audited() { # audited NAMESPACE/NAME true|false SPEC
  printf 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { namespace: %s, name: %s, annotations: { routelet.io/audit: "%s" } }\nspec: %s\n' \
    "${1%/*}" "${1#*/}" "$2" "$3" | $LAB apply -
  $LAB wait >/dev/null
}
logged() { sort "$LAB_OUT/nflog" | uniq | tr '\n' ';'; }
is_logged() { grep -qx -- "$1" "$LAB_OUT/nflog"; }
snapshot() { cat "$LAB_OUT/nflog"; $LAB exec node-node1 sh -c 'iptables-save; nft list table ip routelet' 2>/dev/null | grep -i log; }
packets() { $LAB run node1 -- policy why "$@" --output=json | jq '[.connections[].judgements[].packets] | add'; }

python3 "$(dirname "$0")/nflog.py" "$LAB_OUT" node-node1 100 &
within 10 "somebody listens to group 100" test -e "$LAB_OUT/nflog"

ALLOWS_DB='{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }'
audited a/web true "$ALLOWS_DB"
expect "a policy under audit denies nothing" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$(everyone)"
within 5 "what it would deny is logged" is_logged "audit a/web"
before=$(packets b/db a/web TCP/80)
reach TCP 80 pod-b-db -- 10.1.1.2 fd01:1::2 >/dev/null
after=$(packets b/db a/web TCP/80)
[ "$after" -gt "$before" ] || fail "and counted" "$before, then $after"
pass "and counted"
expect "policy why says so" "$($LAB run node1 -- policy why b/db a/web TCP/80 | grep -c 'allowed, no policy isolates .*; policy a/web under audit would deny it')" "2"
expect "policy list too" "$($LAB run node1 -- policy list | grep -c 'a/web .*audit')" "1"
expect "what it allows is not logged" "$(logged)" "audit a/web;"

audited a/web false "$ALLOWS_DB"
expect "without the annotation it denies" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-db a-web"
within 5 "what is denied is logged with the policy's name" is_logged "a/web"
expect "and nothing else is" "$(logged)" "a/web;audit a/web;"
touch "$LAB_OUT/nflog-enough"
unpolicy a/web

# kube-router has one chain for both directions, in which an ingress rule allows the way out.
policy b/both '{ podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}] }'
expect "ingress that allows all lets nobody out" "$(reach TCP 80 pod-b-db -- 10.1.2.3 10.1.1.2 fd01:2::3 fd01:1::2 | cut -d' ' -f3 | uniq)" "no"
policy b/both '{ podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}] }'
expect "egress that allows all lets nobody in" "$(reach TCP 8081 pod-b-web pod-a-web -- 10.1.1.4 fd01:1::4 | cut -d' ' -f3 | uniq)" "no"
unpolicy b/both

# A port's name is each pod's own: "http" is 80 at web, "metrics" 80 at db. What nobody has by that name opens nothing.
policy a/named '{ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchLabels: { env: test } } }], ports: [{ port: http }] }] }'
expect "http is port 80 of web" "$(reach TCP 80 pod-b-db -- 10.1.1.2 fd01:1::2 | cut -d' ' -f3 | uniq)" "yes"
expect "and port 8080 of db, whose port 80 has another name" "$(reach TCP 8080 pod-b-db -- 10.1.2.2 | cut -d' ' -f3) $(reach TCP 80 pod-b-db -- 10.1.2.2 | cut -d' ' -f3)" "yes no"
policy a/named '{ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchLabels: { env: test } } }], ports: [{ port: nobody-has-it }] }] }'
expect "a name that nobody has opens nothing" "$(reach TCP 80 pod-b-db -- 10.1.1.2 fd01:1::2 | cut -d' ' -f3 | uniq)" "no"
unpolicy a/named
