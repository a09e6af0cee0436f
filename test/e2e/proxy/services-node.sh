#!/usr/bin/env bash
# What a Service has of its node: health checks, node ports when the node's address changes, cluster IPs of added ranges.
. "$(dirname "$0")/services-lib.sh"

apply_node() { # apply_node IPV4 IPV6: the node's addresses
  $LAB apply - <<YAML
apiVersion: v1
kind: Node
metadata: { name: one }
status: { addresses: [{ type: InternalIP, address: $1 }, { type: InternalIP, address: "$2" }] }
YAML
  settle
}
pod_a() { # pod_a METADATA: pod a-1, the only endpoint of node one
  $LAB apply - <<YAML
apiVersion: v1
kind: Pod
metadata: { name: a-1, namespace: default, labels: { app: web }$1 }
spec: { nodeName: one, containers: [{ name: web, ports: [{ name: http, containerPort: 8080 }] }] }
status: { phase: Running, podIPs: [{ ip: 10.244.1.5 }, { ip: "fd00:244:1::5" }], conditions: [{ type: Ready, status: "True" }] }
YAML
  settle
}

# S5, S9: the balancer is told to go elsewhere while the last endpoint here still serves.
$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: balanced, namespace: default }
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 32555
  clusterIPs: [10.96.5.1, "fd00:96::5:1"]
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: http, nodePort: 30555 }]
YAML
settle
check() { $LAB exec client-outside curl -gs --max-time 3 -o /dev/null -w '%{http_code}' "http://$1:32555/healthz"; }
NODE="192.168.50.11 fd00:50::11"
for address in 192.168.50.11 "[fd00:50::11]"; do expect "S9: $address has an endpoint" "$(check "$address")" "200"; done
pod_a ', deletionTimestamp: "2030-01-01T00:00:00Z"'
for address in 192.168.50.11 "[fd00:50::11]"; do expect "S5: $address has one that ends" "$(check "$address")" "503"; done
for address in $NODE; do reached "S5: and is served by it at $address" client-outside TCP "$address" 30555 "4 default/a-1"; done
pod_a ""
expect "S9: the endpoint is back" "$(check 192.168.50.11)" "200"

# S22: the node's address changes while the agent runs.
$LAB exec node-one ip addr add 192.168.50.31/24 dev eth0
$LAB exec node-one ip addr add fd00:50::31/64 dev eth0 nodad
apply_node 192.168.50.31 fd00:50::31
for address in 192.168.50.31 fd00:50::31; do
  reached "S22: node ports move to $address" client-outside TCP "$address" 30080 "$BOTH"
done
for address in $NODE; do
  expect "S22: and leave $address" "$(probe_all client-outside TCP 1 "$address" 30080)" "1 refused"
done
expect "S22: the node calls VIPs from its new address" "$(ask node-one 10.96.1.1 80 4 | seen_as)" "192.168.50.31"
expect "S22: over IPv6 too" "$(ask node-one fd00:96::1 80 4 | seen_as)" "fd00:50::31"
apply_node 192.168.50.11 fd00:50::11
for address in $NODE; do reached "S22: and back at $address" client-outside TCP "$address" 30080 "$BOTH"; done

# S21: a range that was added to the cluster's (a ServiceCIDR) is served as the first.
add_service
for vip in 10.200.0.1 fd00:200::1; do
  reached "S21: a cluster IP of an added range, $vip" pod-default-client TCP $vip 80 "$BOTH"
  expect "S21: an unknown port of it is refused" "$(probe_all pod-default-client TCP 1 $vip 81)" "1 refused"
done
