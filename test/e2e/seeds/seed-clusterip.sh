#!/usr/bin/env bash
# ClusterIPs in IPVS on every node, VIPs on kube-dummy-if, requests spread over all pods in turn.
. "$(dirname "$0")/lib.sh"

for node in node1 node2 node3; do
  expect "$node has the API server's Service" "$(ipvs_service $node 'TCP 10.254.0.1:443')" \
    "TCP 10.254.0.1:443 rr persistent 10800
192.168.123.250:6443 Masq 1"
  expect "$node has whats-my-ip with its three pods" "$(ipvs_service $node "TCP $VIP:8080")" \
    "TCP $VIP:8080 rr
172.20.104.9:8080 Masq 1
172.20.135.8:8080 Masq 1
172.20.166.130:8080 Masq 1"
  vips=$($LAB exec node-$node ip -o -4 addr show dev kube-dummy-if | awk '{ print $4 }' | sort | tr '\n' ' ')
  expect "$node carries both VIPs on kube-dummy-if" "$vips" "10.254.0.1/32 $VIP/32 "
done

expect "a pod reaches all three pods in turn" "$(ask pod-default-client $VIP 8080 6 | answered_by)" "$(all_three 2)"
expect "a node reaches all three pods in turn" "$(ask node-node3 $VIP 8080 6 | answered_by)" "$(all_three 2)"
expect "pods see the pod that asks, not a node" "$(ask pod-default-client $VIP 8080 6 | seen_as)" "172.20.104.20"

$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: another, namespace: default }
spec:
  clusterIP: 10.254.9.9
  selector: { app: whats-my-ip }
  ports: [{ port: 80, targetPort: 8080 }]
YAML
settle
for node in node1 node2 node3; do
  vips=$($LAB exec node-$node ip -o -4 addr show dev kube-dummy-if | awk '{ print $4 }' | sort | tr '\n' ' ')
  expect "$node has one VIP more" "$vips" "10.254.0.1/32 10.254.175.147/32 10.254.9.9/32 "
done
expect "the new Service answers" "$(ask node-node1 10.254.9.9 80 3 | answered_by)" "$(all_three 1)"
