#!/usr/bin/env bash
# The guides' NetworkPolicy: v1, and the annotation of 2017 on a namespace.
. "$(dirname "$0")/lib.sh"
namespace() { # namespace NAME ANNOTATION
  printf 'apiVersion: v1\nkind: Namespace\nmetadata: { name: %s, labels: { env: prod }, annotations: { net.beta.kubernetes.io/network-policy: %s } }\n' "$1" "'$2'" |
    $LAB apply - && $LAB wait >/dev/null
}
into() { # into: who reaches web and db of the namespace
  echo "web: $(who TCP 80 10.1.1.2 fd01:1::2); db: $(who TCP 8080 10.1.2.2 fd01:2::2)"
}

namespace a '{"ingress": {"isolation": "DefaultDeny"}}'
expect "pods of other namespaces cannot reach the isolated namespace, nor its own each other" "$(into)" "web: a-web; db: a-db"
expect "other namespaces stay open" "$(who TCP 80 10.1.2.3 fd01:2::3)" "$(everyone)"
expect "isolated pods still call out" "$(reach TCP 80 pod-a-web -- 10.1.2.3 fd01:2::3 | awk '{ print $3 }' | uniq)" "yes"
expect "its UDP is closed too" "$(who UDP 53 10.1.1.3 fd01:1::3)" "a-dns"

policy a/front '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: { matchLabels: { env: test } } }], ports: [{ port: 80 }] }] }'
expect "what a policy allows, can" "$(into)" "web: a-web b-db b-web; db: a-db"

namespace a '{"ingress": {"isolation": "Other"}}'
expect "anything but DefaultDeny isolates nothing; the policy stands" "$(into)" "web: a-web b-db b-web; db: $(everyone)"
namespace a 'no JSON'
expect "nor does what is no JSON" "$(into)" "web: a-web b-db b-web; db: $(everyone)"
$LAB run node1 -- status | grep -q 'firewall: problem .*net.beta.kubernetes.io/network-policy' || fail "the status names it" "$($LAB run node1 -- status)"
pass "the status names it"

policy a/all '{ podSelector: {}, policyTypes: [Ingress] }'
expect "v1 isolates by a policy for all pods" "$(into)" "web: a-web b-db b-web; db: a-db"
unpolicy a/front a/all
expect "without policies everyone comes in" "$(into)" "web: $(everyone); db: $(everyone)"
