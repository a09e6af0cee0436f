#!/usr/bin/env bash
# SCTP is judged as TCP and UDP are, and is none of them.
. "$(dirname "$0")/lib.sh"
cat <<'Y' | $LAB apply -
apiVersion: v1
kind: Pod
metadata: { name: sctp, namespace: a, labels: { app: sctp } }
spec:
  nodeName: node1
  containers: [{ name: main, ports: [{ name: sig, protocol: SCTP, containerPort: 9000 }, { name: web, protocol: TCP, containerPort: 9000 }, { protocol: SCTP, containerPort: 9001 }] }]
status: { phase: Running, podIPs: [{ ip: 10.1.1.30 }, { ip: "fd01:1::30" }] }
Y
$LAB wait >/dev/null
if [ "$(reach SCTP 9000 pod-a-sctp -- 10.1.1.30)" != "pod-a-sctp 10.1.1.30 yes" ]; then
  pass "left out: this Linux has no SCTP"
  exit 0
fi
sctp() { who SCTP "${1:-9000}" 10.1.1.30 fd01:1::30; }
expect "without policies everyone reaches it" "$(sctp)" "$(everyone)"
policy a/p '{ podSelector: { matchLabels: { app: sctp } }, policyTypes: [Ingress] }'
expect "it is isolated as others are" "$(sctp)" ""
policy a/p '{ podSelector: { matchLabels: { app: sctp } }, ingress: [{ ports: [{ protocol: TCP, port: 9000 }] }] }'
expect "a rule for TCP opens none of it" "$(sctp)" ""
policy a/p '{ podSelector: { matchLabels: { app: sctp } }, ingress: [{ from: [{ podSelector: {} }], ports: [{ protocol: SCTP, port: 9000 }] }] }'
expect "a rule for it opens it to whom it says" "$(sctp)" "a-db a-dns a-web"
expect "and its port alone" "$(sctp 9001)" ""
expect "and no TCP" "$(who TCP 9000 10.1.1.30 fd01:1::30)" ""
policy a/p '{ podSelector: { matchLabels: { app: sctp } }, ingress: [{ ports: [{ protocol: SCTP, port: sig }] }] }'
expect "by its name too" "$(sctp)" "$(everyone)"
policy a/p '{ podSelector: { matchLabels: { app: sctp } }, ingress: [{ ports: [{ protocol: SCTP }] }] }'
expect "and all its ports" "$(sctp 9001)" "$(everyone)"
