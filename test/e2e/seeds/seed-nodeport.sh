#!/usr/bin/env bash
# NodePort: the node's address answers besides the ClusterIP, through any node, for a client outside.
. "$(dirname "$0")/lib.sh"

$LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: whats-my-ip, namespace: default }
spec:
  type: NodePort
  clusterIP: $VIP
  selector: { app: whats-my-ip }
  ports: [{ port: 8080, targetPort: 8080, nodePort: 34507 }]
YAML
settle

destinations="172.20.104.9:8080 Masq 1
172.20.135.8:8080 Masq 1
172.20.166.130:8080 Masq 1"
for entry in node1=192.168.123.250 node2=192.168.123.248 node3=192.168.123.249; do
  node=${entry%=*} address=${entry#*=}
  expect "$node serves the node port" "$(ipvs_service $node "TCP $address:34507")" "TCP $address:34507 rr
$destinations"
  expect "$node still serves the ClusterIP" "$(ipvs_service $node "TCP $VIP:8080")" "TCP $VIP:8080 rr
$destinations"
  expect "a client outside reaches all pods through $node" "$(ask client-outside $address 34507 6 | answered_by)" "$(all_three 2)"
done

# The node's other addresses serve it only when they are asked to.
$LAB exec node-node3 ip addr add 192.168.123.149/24 dev eth0
expect "another address of the node does not answer" "$(ask node-node1 192.168.123.149 34507 1 | cut -d' ' -f1)" "refused"
$LAB agent flags node3 -- --nodeport-bindon-all-ip
$LAB agent restart node3
settle
expect "with --nodeport-bindon-all-ip it is served" "$(ipvs_service node3 'TCP 192.168.123.149:34507')" \
  "TCP 192.168.123.149:34507 rr
$destinations"
expect "and answers" "$(ask client-outside 192.168.123.149 34507 3 | answered_by)" "$(all_three 1)"
ipvs node3 | grep -q '127\.0\.0\.1' && fail "loopback serves no node port" "$(ipvs node3)"
pass "loopback serves no node port"
