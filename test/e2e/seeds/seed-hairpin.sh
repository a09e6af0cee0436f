#!/usr/bin/env bash
# The guide's problem 3: a pod calls a Service whose only endpoint is itself.
. "$(dirname "$0")/lib.sh"

self() { # self ANNOTATIONS: a Service of type NodePort with an external IP, whose only pod is default/self on node2
  $LAB apply - <<YAML
apiVersion: v1
kind: Pod
metadata: { name: self, namespace: default, labels: { app: self } }
spec:
  nodeName: node2
  containers: [{ name: web, ports: [{ containerPort: 8080 }] }]
status: { phase: Running, podIP: 172.20.104.30 }
---
apiVersion: v1
kind: Service
metadata: { name: self, namespace: default, annotations: { $1 } }
spec:
  type: NodePort
  clusterIP: 10.254.6.6
  externalIPs: [10.33.1.11]
  selector: { app: self }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30606 }]
YAML
  settle
}
calls() { # calls ADDRESS PORT: what the pod gets from itself
  ask pod-default-self "$1" "$2" 1
}
ports() { # ports MODE: how many of node2's bridge ports are in this hairpin mode
  $LAB exec node-node2 sh -c "cat /sys/class/net/kube-bridge/brif/*/hairpin_mode" | grep -c "$1"
}
rules() { $LAB exec node-node2 iptables -t nat -S | grep -c KUBE-ROUTER-HAIRPIN; }

for node in node1 node2 node3; do
  $LAB agent flags $node -- --service-external-ip-range=10.33.1.0/24
  $LAB agent restart $node
done
self ""
expect "without hairpin the pod waits in vain" "$(calls 10.254.6.6 80)" "timeout "
expect "others reach it" "$(ask pod-default-client 10.254.6.6 80 1)" "ok default/self 172.20.104.30 172.20.104.20"
expect "no rule is made" "$(rules)" "0"

self '"kube-router.io/service.hairpin": ""'
expect "with the annotation it answers itself, and sees the ClusterIP as source" "$(calls 10.254.6.6 80)" "ok default/self 172.20.104.30 10.254.6.6"
expect "through the NodePort it sees the node" "$(calls 192.168.123.248 30606)" "ok default/self 172.20.104.30 192.168.123.248"
expect "through another node's port, another path, it answers too" "$(calls 192.168.123.250 30606 | cut -d' ' -f1)" "ok"
expect "the external IP is not for it" "$(calls 10.33.1.11 80)" "timeout "
expect "others see no difference" "$(ask pod-default-client 10.254.6.6 80 1)" "ok default/self 172.20.104.30 172.20.104.20"
expect "other Services see no difference" "$(ask pod-default-client $VIP 8080 6 | answered_by)" "$(all_three 2)"
expect "the rule is on the pod's node alone" "$($LAB exec node-node1 iptables -t nat -S | grep -c KUBE-ROUTER-HAIRPIN)" "0"
$LAB exec node-node2 iptables -t nat -S KUBE-ROUTER-HAIRPIN | grep -q -- '--vaddr 10.254.6.6 --vport 80 .*--to-source 10.254.6.6' ||
  fail "the rule reads like kube-router's" "$($LAB exec node-node2 iptables -t nat -S)"
pass "the rule reads like kube-router's"

self '"kube-router.io/service.hairpin": "true", "kube-router.io/service.hairpin.externalips": ""'
expect "with the other annotation the external IP as well" "$(calls 10.33.1.11 80)" "ok default/self 172.20.104.30 10.33.1.11"

# A pod that comes later gets its port's mode within a second or two; and a port that somebody switches off.
$LAB apply - <<'YAML'
apiVersion: v1
kind: Pod
metadata: { name: later, namespace: default }
spec: { nodeName: node2, containers: [{ name: shell }] }
status: { phase: Running, podIP: 172.20.104.31 }
YAML
for _ in $(seq 50); do
  [ "$(ports 0)" = 0 ] && break
  sleep 0.2
done
expect "every port of the bridge is in hairpin mode" "$(ports 0)" "0"

self '"kube-router.io/service.hairpin": "false"'
expect "false is off" "$(calls 10.254.6.6 80)" "timeout "
expect "the ports are as they were" "$(ports 1)" "0"
expect "no rule is left" "$(rules)" "0"
$LAB run node2 -- status | grep -q 'service.hairpin is "false"' || fail "the status names it" "$($LAB run node2 -- status)"
pass "the status names it"

self ""
$LAB agent flags node2 -- --hairpin-mode
$LAB agent restart node2
settle
expect "with --hairpin-mode every Service lets its pods in" "$(calls 10.254.6.6 80)" "ok default/self 172.20.104.30 10.254.6.6"
$LAB exec node-node2 iptables -t nat -F KUBE-ROUTER-HAIRPIN
for _ in $(seq 50); do
  [ "$($LAB exec node-node2 iptables -t nat -S KUBE-ROUTER-HAIRPIN | wc -l)" -gt 1 ] && break
  sleep 0.2
done
expect "a flushed chain comes back" "$(calls 10.254.6.6 80)" "ok default/self 172.20.104.30 10.254.6.6"
$LAB agent stop node2
out=$($LAB run node2 -- cleanup 2>&1) || fail "cleanup" "$out"
expect "cleanup leaves the ports as they were" "$(ports 1)" "0"
