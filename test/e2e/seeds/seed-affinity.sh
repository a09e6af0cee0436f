#!/usr/bin/env bash
# sessionAffinity ClientIP: one client stays with one pod, for the time that the Service says.
. "$(dirname "$0")/lib.sh"

affinity() { # affinity LINE-OF-SPEC
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: whats-my-ip, namespace: default }
spec:
  clusterIP: $VIP
  selector: { app: whats-my-ip }
  sessionAffinity: ClientIP
  $1
  ports: [{ port: 8080, targetPort: 8080 }]
YAML
  settle
}

affinity ""
for node in node1 node2 node3; do
  expect_line "$node keeps clients for 10800 s" "$(ipvs $node)" "TCP $VIP:8080 rr persistent 10800"
done
for client in pod-default-client node-node1 node-node3; do
  answers=$(ask $client $VIP 8080 9 | answered_by)
  [[ $answers =~ ^9\ default/whats-my-ip-[123]$ ]] || fail "$client always reaches one pod" "$answers"
  pass "$client always reaches one pod"
done

# Two clients that share their first 8 bits are two clients: the mask is the whole address. Were the mask 32.0.0.0, as
# kube-router writes it, all of these would be one client and reach one pod.
for i in 31 32 33; do
  $LAB exec node-node2 ip addr add 172.20.104.$i/32 dev kube-bridge
done
pods=$(for i in 31 32 33; do
  $LAB exec node-node2 curl -s --max-time 3 --interface 172.20.104.$i http://$VIP:8080/ | awk '{ print $1 }'
done | sort | uniq | wc -l)
expect "three addresses of one node are three clients" "$pods" "3"

affinity "sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } }"
for node in node1 node2 node3; do
  expect_line "$node keeps clients for 600 s" "$(ipvs $node)" "TCP $VIP:8080 rr persistent 600"
done
