#!/usr/bin/env bash
# --netpol-default-deny: a pod is closed from its first packet until its rules are in Linux, and no other pod notices.
. "$(dirname "$0")/lib.sh"
new_pod() { # new_pod NAME LABEL ADDRESS…
  printf 'apiVersion: v1\nkind: Pod\nmetadata: { name: %s, namespace: a, labels: { app: %s } }\nspec: { nodeName: node1, containers: [{ name: main, ports: [{ containerPort: 80 }] }] }\nstatus: { phase: Running, podIPs: [{ ip: %s }, { ip: "%s" }] }\n' "$@" |
    $LAB apply -
}
sees() { reach TCP 80 "$@" | cut -d' ' -f3 | uniq; }

$LAB agent flags node1 -- --netpol-default-deny
$LAB agent restart node1
$LAB wait >/dev/null
expect "pods that have their rules are open" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$(everyone)"

# The agent does not know of it: the longest first moment that there is.
$LAB agent kill node1
new_pod early early 10.1.1.20 fd01:1::20
expect "a pod without rules is closed to all" "$(who TCP 80 10.1.1.20 fd01:1::20)" ""
expect "its node's kubelet reaches it" "$(sees node-node1 -- 10.1.1.20 fd01:1::20)" "yes"
expect "it reaches no pod of its node, nor of another" "$(sees pod-a-early -- 10.1.1.2 fd01:1::2 10.1.2.3 fd01:2::3)" "no"
expect "nor its node, nor anybody outside" "$(reach TCP 20244 pod-a-early -- 192.168.1.11 192.168.1.12 fd00:1::11 | cut -d' ' -f3 | uniq)" "no"
expect "pods with rules are as open as before" "$(who TCP 80 10.1.1.2 fd01:1::2)" "$(everyone)"
$LAB agent start node1
$LAB wait >/dev/null
expect "it opens when its rules are there" "$(who TCP 80 10.1.1.20 fd01:1::20)" "$(everyone)"
expect "and calls out" "$(sees pod-a-early -- 10.1.1.2 fd01:1::2 10.1.2.3 fd01:2::3)" "yes"

policy a/closed '{ podSelector: { matchLabels: { app: closed } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }] }] }'
knock pod-b-db tcp:10.1.1.21:80 tcp:fd01:1::21:80
knock pod-c-other tcp:10.1.1.21:80 tcp:fd01:1::21:80
knock pod-b-web tcp:10.1.1.2:80 tcp:fd01:1::2:80
new_pod closed closed 10.1.1.21 fd01:1::21
$LAB wait >/dev/null
expect "a pod with a policy opens to whom it allows" "$(sees pod-a-web -- 10.1.1.21 fd01:1::21)" "yes"
sleep 2
enough
for target in tcp:10.1.1.21:80 tcp:fd01:1::21:80; do
  never "from its first packet never to others of its node" pod-b-db $target
  never "nor of another node" pod-c-other $target
done
always "a pod beside it was never cut off" pod-b-web tcp:10.1.1.2:80
always "nor over IPv6" pod-b-web tcp:fd01:1::2:80
