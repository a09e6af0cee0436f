#!/usr/bin/env bash
# Every kind of address of a Service, the ranges that allow them, labels and annotations.
. "$(dirname "$0")/services-lib.sh"

all_addresses "addresses"
expect "S31: a named target port that differs per pod" "$(ipvs_service one 'TCP 10.96.1.1:80')" "TCP 10.96.1.1:80 rr
10.244.1.5:8080 Masq 1
10.244.2.5:8081 Masq 1"

# Ranges: default deny, one report a Service, with the flag.
$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: greedy, namespace: default }
spec:
  clusterIP: 10.96.2.1
  externalIPs: [203.0.113.20, 8.8.8.8, 9.9.9.9, 10.96.7.7]
  selector: { app: web }
  ports: [{ port: 80, targetPort: http }]
status: { loadBalancer: { ingress: [{ ip: 198.51.100.20 }, { ip: 198.51.100.21, ipMode: Proxy }, { ip: 198.51.100.22, ipMode: VIP }, { hostname: lb.example.org }, { ip: 203.0.113.99 }] } }
---
apiVersion: v1
kind: Service
metadata: { name: shares, namespace: default }
spec: { clusterIP: 10.96.2.2, externalIPs: [203.0.113.20], selector: { app: other }, ports: [{ name: http, port: 81, targetPort: http }] }
YAML
settle
expect "only addresses of the ranges are served" "$(services one | grep -E '203.0.113.20|198.51.100.2|8\.8|9\.9|10\.96\.7|113\.99')" "TCP 198.51.100.20:80
TCP 198.51.100.22:80
TCP 203.0.113.20:80
TCP 203.0.113.20:81"
problem "an address outside of the ranges is named with the flag" 'service default/greedy.*"8\.8\.8\.8", "9\.9\.9\.9".*--service-external-ip-range'
problem "one inside the cluster range as well" 'service default/greedy.*"10\.96\.7\.7".*--service-cluster-ip-range'
problem "and a load balancer's" 'service default/greedy.*"203\.0\.113\.99".*--loadbalancer-ip-range'
expect "once" "$($LAB agent logs one | grep -c '8\.8\.8\.8')" "1"
reached "S16: ipMode VIP is served" pod-default-client TCP 198.51.100.22 80 "$BOTH"

# A VIP that two Services share lives until the last one goes.
reached "the first Service on a shared VIP" pod-default-client TCP 203.0.113.20 80 "$BOTH"
reached "the second Service on a shared VIP" pod-default-client TCP 203.0.113.20 81 "4 default/a-2"
$LAB delete - <<'YAML'
{ apiVersion: v1, kind: Service, metadata: { name: greedy, namespace: default } }
YAML
settle
holds "a shared VIP stays while one has it" has_vip one 203.0.113.20/32
reached "and serves that one" pod-default-client TCP 203.0.113.20 81 "4 default/a-2"
$LAB delete - <<'YAML'
{ apiVersion: v1, kind: Service, metadata: { name: shares, namespace: default } }
YAML
settle
lacks "it goes with the last" has_vip one 203.0.113.20/32

# Two Services that want one address and port: the younger one has none of it, and refuses nobody.
$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: rival, namespace: default, creationTimestamp: "2099-01-01T00:00:00Z" }
spec:
  type: LoadBalancer
  clusterIP: 10.96.2.3
  externalIPs: [203.0.113.10, "fd00:203::10"]
  loadBalancerSourceRanges: [192.0.2.0/24]
  selector: { app: nobody }
  ports: [{ name: http, port: 80, targetPort: http }]
status: { loadBalancer: { ingress: [{ ip: 198.51.100.10 }, { ip: "fd00:198::10" }] } }
YAML
settle
problem "the younger one is told of" 'conflict.*203\.0\.113\.10:80.*older'
for vip in 203.0.113.10 fd00:203::10 198.51.100.10 fd00:198::10; do
  reached "an older Service is served at $vip though a younger one wants it" client-outside TCP $vip 80 "$BOTH"
done
$LAB delete - <<'YAML'
{ apiVersion: v1, kind: Service, metadata: { name: rival, namespace: default } }
YAML
settle

# Addresses that are somebody's already, and excluded ones.
$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: nodes, namespace: default }
spec: { clusterIP: 10.96.3.1, externalIPs: [192.168.50.11, 192.168.50.12, 203.0.113.250], selector: { app: web }, ports: [{ port: 8880, targetPort: http }] }
YAML
settle
holds "a node's own address is served" has_service one TCP\ 192.168.50.11:8880
lacks "and never on our link" has_vip one 192.168.50.11/32
lacks "another node's address is not served here" has_service one TCP\ 192.168.50.12:8880
lacks "and not taken either" has_vip one 192.168.50.12/32
reached "a pod reaches it at this node" pod-default-client TCP 192.168.50.11 8880 "$BOTH"
reached "and at the other" pod-default-client TCP 192.168.50.12 8880 "$BOTH"
reached "and outside too" client-outside TCP 192.168.50.12 8880 "$BOTH"
lacks "an excluded address is not served" has_service one TCP\ 203.0.113.250:8880
lacks "and not bound" has_vip one 203.0.113.250/32
holds "but on the node that does not exclude it" has_service two TCP\ 203.0.113.250:8880

# Labels come and go.
for label in 'service.kubernetes.io/service-proxy-name: cilium' 'service.kubernetes.io/headless: ""'; do
  labelled() { # labelled LABELS
    $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: labelled, namespace: default, labels: { $1 } }
spec: { clusterIP: 10.96.4.1, selector: { app: web }, ports: [{ port: 80, targetPort: http }] }
YAML
    settle
  }
  labelled ""
  holds "S18, S19: a plain Service is served" has_service one TCP\ 10.96.4.1:80
  labelled "$label"
  lacks "$label: it is not" has_service one TCP\ 10.96.4.1:80
  lacks "$label: nor is its VIP" has_vip one 10.96.4.1/32
done
labelled "service.kubernetes.io/service-proxy-name: kube-router"
holds "one for kube-router is ours" has_service one TCP\ 10.96.4.1:80

# Annotations: understood ones act, others are told of once.
annotated() { # annotated ANNOTATIONS [SPEC]
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: annotated, namespace: default, annotations: { $1 } }
spec: { type: LoadBalancer, clusterIP: 10.96.5.1, selector: { app: web }, ports: [{ port: 80, targetPort: http }], ${2:-} }
status: { loadBalancer: { ingress: [{ ip: 198.51.100.50 }] } }
YAML
  settle
}
line() { ipvs one | tr -s ' ' | grep -F "TCP $1:80" | sed 's/ $//'; }
for scheduler in rr lc dh sh mh wrr wlc sed nq lblc lblcr fo ovf; do
  annotated "kube-router.io/service.scheduler: $scheduler"
  expect "scheduler $scheduler" "$(line 10.96.5.1)" "TCP 10.96.5.1:80 $scheduler"
  expect "scheduler $scheduler serves" "$(probe_all pod-default-client TCP 4 10.96.5.1 80 | awk '{ n += $1 } $2 ~ /^default/ { ok += $1 } END { print ok "/" n }')" "4/4"
done
annotated 'kube-router.io/service.scheduler: sh, kube-router.io/service.schedflags: "sh-port, sh-fallback"'
expect "flags of sh" "$(line 10.96.5.1)" "TCP 10.96.5.1:80 sh (sh-fallback,sh-port)"
annotated 'kube-router.io/service.scheduler: mh, kube-router.io/service.schedflags: "flag-1,flag-2"'
expect "kube-router's flags of mh" "$(line 10.96.5.1)" "TCP 10.96.5.1:80 mh (mh-fallback,mh-port)"
annotated 'kube-router.io/service.scheduler: mh, kube-router.io/service.schedflags: mh-port'
expect "named flags of mh" "$(line 10.96.5.1)" "TCP 10.96.5.1:80 mh (mh-port)"
annotated 'kube-router.io/service.scheduler: roundrobin, kube-router.io/service.schedflags: flag-1, kube-router.io/service.local: maybe'
expect "a scheduler that is none is rr" "$(line 10.96.5.1)" "TCP 10.96.5.1:80 rr"
problem "it is named" 'service default/annotated.*service.scheduler is "roundrobin"'
problem "and so are flags that it does not have" 'service default/annotated.*schedflags has "flag-1"'
problem "and a switch that is neither on nor off" 'service default/annotated.*service.local is "maybe"'
annotated 'kube-router.io/service.skiplbips: "true"'
lacks "skiplbips leaves load balancer IPs out" has_service one TCP\ 198.51.100.50:80
annotated 'kube-router.io/service.local: "true"' 'internalTrafficPolicy: Local'
expect "service.local: external traffic stays local" "$(ipvs_service one 'TCP 198.51.100.50:80' | tail -n +2)" "10.244.1.5:8080 Masq 1"
expect "service.local: internal traffic does not" "$(ipvs_service one 'TCP 10.96.5.1:80' | tail -n +2 | wc -l)" "2"
