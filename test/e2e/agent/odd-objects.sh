#!/usr/bin/env bash
# Bad objects: each is named once with reason and remedy, and costs only itself.
. "$(dirname "$0")/lib.sh"
before=$(snapshot)

$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: no-ip, namespace: default }
spec: { clusterIP: 10.96.300.1, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: portless, namespace: default }
spec: { clusterIP: 10.96.4.1, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: portless-1, namespace: default, labels: { kubernetes.io/service-name: portless } }
addressType: IPv4
endpoints: [{ addresses: [10.244.1.5] }]
---
apiVersion: v1
kind: Service
metadata: { name: also-30080, namespace: default, creationTimestamp: "2099-01-01T00:00:00Z" }
spec:
  type: NodePort
  clusterIP: 10.96.4.2
  selector: { app: client }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }]
---
apiVersion: v1
kind: Service
metadata: { name: odd-protocol, namespace: default }
spec: { clusterIP: 10.96.4.3, selector: { app: web }, ports: [{ port: 80, targetPort: 8080, protocol: QUIC }] }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: default }
spec: { clusterIP: None, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: elsewhere, namespace: default }
spec: { type: ExternalName, externalName: example.org }
YAML
settle
$LAB run one -- status >"$LAB_OUT/status"

named() { # named DESCRIPTION PATTERN
  grep -qE "$2" "$LAB_OUT/status" || fail "$1 is named in the status" "$(cat "$LAB_OUT/status")"
  pass "$1 is named in the status"
}
named "an IP that is none" 'default/no-ip.*"10\.96\.300\.1"'
named "a slice without ports" 'default/portless.*EndpointSlice "default/portless-1"'
named "a node port that two Services want" 'conflict.*30080.*default/also-30080.*default/web'
named "a protocol that is none" 'default/odd-protocol.*"QUIC"'
expect "the Service that was first keeps its node port" "$(ipvs_service one 'TCP 192.168.50.11:30080')" "TCP 192.168.50.11:30080 rr
10.244.1.5:8080 Masq 1
10.244.2.5:8080 Masq 1"
expect "good Services are served as before" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "2 default/web-1
2 default/web-2"
expect "each problem is logged once" "$($LAB agent logs one | grep -c '10.96.300.1')" "1"

$LAB delete - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
YAML
settle
expect "the second Service takes the node port over" "$(ipvs_service one 'TCP 192.168.50.11:30080' | head -n 1)" "TCP 192.168.50.11:30080 rr"
