#!/usr/bin/env bash
# Both families, TCP and UDP, from pods, the node and outside; endpoints come and go.
. "$(dirname "$0")/lib.sh"
both="2 default/web-1
2 default/web-2"

for vip in 10.96.1.1 fd00:96::1; do
  for from in pod-default-client node-one; do
    expect "$from reaches TCP $vip" "$(probe_all $from TCP 4 $vip 80)" "$both"
    expect "$from reaches UDP $vip" "$(probe_all $from UDP 4 $vip 53)" "$both"
  done
done
for address in 192.168.50.11 fd00:50::11; do
  expect "outside reaches the node port at $address" "$(probe_all client-outside TCP 4 $address 30080)" "$both"
done
expect "outside keeps its address towards a pod of that node" \
  "$(ask client-outside 192.168.50.11 30080 2 | awk '$2 == "default/web-1" { print $4 }')" "192.168.50.99"
expect "a pod reaches itself's Service when another answers" "$(probe_all pod-default-web-1 TCP 4 10.96.1.1 80 | grep -c web-2)" "1"

pod() { # pod PHASE
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: { name: web-2, namespace: default, labels: { app: web } }
spec:
  nodeName: two
  containers: [{ name: web, ports: [{ containerPort: 8080 }, { containerPort: 5353, protocol: UDP }] }]
status: { phase: $1, podIPs: [{ ip: 10.244.2.5 }, { ip: "fd00:244:2::5" }] }
YAML
}
pod Succeeded | $LAB apply -
settle
expect "a pod that has ended is no longer asked" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "4 default/web-1"
pod Running | $LAB apply -
settle
expect "one that is back is asked again" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "$both"
