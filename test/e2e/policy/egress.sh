#!/usr/bin/env bash
# What a pod reaches under egress policies, directions apart, pods and namespaces that change their labels, Services.
. "$(dirname "$0")/lib.sh"
from_web() { # from_web PROTOCOL PORT ADDRESS…: yes and no, in the order of the addresses
  local protocol=$1 port=$2
  shift 2
  reach "$protocol" "$port" pod-a-web -- "$@" | awk '{ printf "%s=%s ", $2, $3 }' | sed 's/ $//'
}
ENDS="10.1.1.4 10.1.2.2 10.1.2.3 fd01:2::2 fd01:2::3"

policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress] }'
expect "egress without rules closes all ways out" "$(from_web TCP 80 $ENDS 192.168.1.99)" \
  "10.1.1.4=no 10.1.2.2=no 10.1.2.3=no 192.168.1.99=no fd01:2::2=no fd01:2::3=no"
expect "and none in" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$(everyone)"
expect "not even to its own node" "$(reach TCP 20244 pod-a-web -- 192.168.1.11 | cut -d' ' -f3)" "no"

policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: [{ to: [{ podSelector: {} }] }] }'
expect "to the own namespace's pods" "$(from_web TCP 80 10.1.2.2 10.1.2.3 fd01:2::2 fd01:2::3)" \
  "10.1.2.2=yes 10.1.2.3=no fd01:2::2=yes fd01:2::3=no"

policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: [{ to: [{ namespaceSelector: { matchLabels: { env: test } } }], ports: [{ port: http }] }] }'
expect "to a named port of another namespace's pods" "$(from_web TCP 80 10.1.2.2 10.1.2.3 fd01:2::2 fd01:2::3)" \
  "10.1.2.2=no 10.1.2.3=yes fd01:2::2=no fd01:2::3=yes"
printf 'apiVersion: v1\nkind: Namespace\nmetadata: { name: b, labels: { env: other } }\n' | $LAB apply -
$LAB wait >/dev/null
expect "a namespace that changes its label is left at once" "$(from_web TCP 80 10.1.2.3 fd01:2::3)" "10.1.2.3=no fd01:2::3=no"

policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: [{ to: [{ ipBlock: { cidr: 10.1.0.0/16, except: [10.1.2.3/32] } }] }] }'
expect "to a block but for its exceptions, and to one family" "$(from_web TCP 80 10.1.2.2 10.1.2.3 fd01:2::2)" \
  "10.1.2.2=yes 10.1.2.3=no fd01:2::2=no"
policy b/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: [{ to: [{ ipBlock: { cidr: 10.1.1.0/24 } }] }] }'
expect "a Service is judged by the pod behind it" "$(reach TCP 80 pod-b-web -- 10.96.0.10 fd00:96::10)" \
  "$(table "pod-b-web 10.96.0.10 yes" "pod-b-web fd00:96::10 no")"
unpolicy b/p

# Both pods are selected by one policy that allows all in and nothing out: the ingress rule must not pay for egress.
policy a/p '{ podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}] }'
expect "a policy of both directions judges them apart" "$(from_web TCP 80 10.1.2.2 fd01:2::2)" "10.1.2.2=no fd01:2::2=no"
expect "what comes from elsewhere comes in" "$(who TCP 80 10.1.1.2 fd01:1::2)" "a-web b-db b-web c-other outside"

policy a/q '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: [{ to: [{ podSelector: { matchLabels: { app: db } } }] }] }'
expect "policies add up" "$(from_web TCP 80 10.1.2.2 fd01:2::2)" "10.1.2.2=yes fd01:2::2=yes"
cat <<'Y' | $LAB apply -
apiVersion: v1
kind: Pod
metadata: { name: db, namespace: a, labels: { app: gone } }
spec: { nodeName: node2, containers: [{ name: main, ports: [{ name: http, protocol: TCP, containerPort: 8080 }, { name: metrics, protocol: TCP, containerPort: 80 }] }] }
status: { phase: Running, podIPs: [{ ip: 10.1.2.2 }, { ip: "fd01:2::2" }] }
Y
$LAB wait >/dev/null
expect "a pod that changes its label is left at once" "$(from_web TCP 80 10.1.2.2 fd01:2::2)" "10.1.2.2=no fd01:2::2=no"
unpolicy a/p a/q
expect "without policies all is open again" "$(from_web TCP 80 10.1.2.2 10.1.2.3 fd01:2::2 fd01:2::3)" \
  "10.1.2.2=yes 10.1.2.3=yes fd01:2::2=yes fd01:2::3=yes"
