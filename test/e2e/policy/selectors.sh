#!/usr/bin/env bash
# Who reaches a pod under each form of a policy's peers and ports, over both families.
. "$(dirname "$0")/lib.sh"
web() { who TCP 80 10.1.1.2 fd01:1::2; }

expect "without policies everyone reaches it" "$(web)" "$(everyone)"

policy a/p '{ podSelector: { matchLabels: { app: web } }, policyTypes: [Ingress] }'
expect "a policy without rules closes it to all but itself" "$(web)" "a-web"
expect "and closes nobody else" "$(who TCP 8080 10.1.2.2 fd01:2::2)" "$(everyone)"
# No policy names a pod's link-local address, which its neighbours on the bridge find without asking.
expect "it has no way around by a link-local address" "$(
  address=$($LAB exec pod-a-web ip -6 -o address show scope link | sed -n 's/.*inet6 \(fe80[^/]*\).*/\1/p' | head -1)
  $LAB exec pod-a-dns python3 - "$address" <<'P'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.settimeout(2)
try:
    s.connect((sys.argv[1], 80, 0, socket.if_nametoindex("eth0")))
    print("reached")
except TimeoutError:
    print("no answer")
P
)" "no answer"
expect "the node itself still reaches it" "$(reach TCP 80 node-node1 -- 10.1.1.2 fd01:1::2)" \
  "$(table "node-node1 10.1.1.2 yes" "node-node1 fd01:1::2 yes")"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: db } } }] }] }'
expect "a pod selector means pods of the policy's namespace" "$(web)" "a-db a-web"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: { matchLabels: { env: test } } }] }] }'
expect "a namespace selector means all pods of such namespaces" "$(web)" "a-web b-db b-web"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: { matchLabels: { env: test } }, podSelector: { matchLabels: { app: db } } }] }] }'
expect "both selectors of one peer must match" "$(web)" "a-web b-db"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: {}, podSelector: { matchExpressions: [{ key: tier, operator: NotIn, values: [back] }] } }] }] }'
expect "NotIn matches pods without the label" "$(web)" "a-db a-dns a-web c-other"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ ipBlock: { cidr: 10.1.0.0/16, except: [10.1.2.4/31] } }, { ipBlock: { cidr: "fd01::/16", except: ["fd01:2::4/127"] } }] }] }'
expect "a block reaches it but for its exceptions" "$(web)" "a-db a-dns a-web b-db b-web"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ ipBlock: { cidr: 0.0.0.0/0 } }, { ipBlock: { cidr: "::/0" } }] }] }'
expect "0.0.0.0/0 and ::/0 are everyone" "$(web)" "$(everyone)"

policy a/p '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ ipBlock: { cidr: 192.168.1.99/32 } }] }] }'
expect "a block of one family opens nothing of the other" "$(web)" "a-web outside!"

policy a/p '{ podSelector: {}, ingress: [{ ports: [{ protocol: TCP, port: http }] }] }'
expect "a named port is 80 here" "$(web)" "$(everyone)"
expect "and 8080 there" "$(who TCP 8080 10.1.2.2 fd01:2::2)" "$(everyone)"
expect "where 80 has another name" "$(who TCP 80 10.1.2.2 fd01:2::2)" "a-db"
expect "and UDP is not TCP" "$(who UDP 53 10.1.1.3 fd01:1::3)" "a-dns"

policy a/p '{ podSelector: {}, ingress: [{ ports: [{ protocol: TCP, port: 8000, endPort: 8100 }, { protocol: UDP, port: 53 }] }] }'
expect "a range of ports opens 8080" "$(who TCP 8080 10.1.2.2 fd01:2::2)" "$(everyone)"
expect "and not 80" "$(web)" "a-web"
expect "and a port of UDP opens UDP" "$(who UDP 53 10.1.1.3 fd01:1::3)" "$(everyone)"
expect "and not TCP" "$(who TCP 53 10.1.1.3 fd01:1::3)" "a-dns"
