#!/usr/bin/env bash
# Which endpoints are chosen: conditions, policies, hints, affinity. Slices are given by hand, node by node.
. "$(dirname "$0")/services-lib.sh"

A='{ addresses: [10.244.1.5], nodeName: one'
B='{ addresses: [10.244.2.5], nodeName: two'
C='{ addresses: [10.244.1.6], nodeName: one'

by_hand() { # by_hand NAME IP SPEC: a Service without a selector
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: $1, namespace: default }
spec: { clusterIP: $2, ports: [{ name: http, port: 80, nodePort: ${4:-0} }], $3 }
status: { loadBalancer: { ingress: [${5:-}] } }
YAML
}
# The pod b-1 listens on 8081: its slices say so.
endpoints() { # endpoints NAME ON-ONE ON-TWO: two slices, and waits
  slice "$1-a" "$1" "[$2]" 8080
  slice "$1-b" "$1" "[$3]" 8081
  settle
}
chosen() { # chosen NODE ADDRESS: the endpoints of TCP ADDRESS:80 that get connections; one that ends stays at weight 0 (S26)
  ipvs_service "$1" "TCP $2:80" | awk 'NR > 1 && $3 > 0 { print $1 }' | paste -sd' '
}
a=10.244.1.5:8080 b=10.244.2.5:8081 c=10.244.1.6:8080

by_hand cond 10.96.20.1 ""
endpoints cond "$A }, $C, conditions: { ready: false } }" "$B, conditions: { ready: true } }"
expect "S3: no conditions are ready; a failing readiness is not" "$(chosen one 10.96.20.1)" "$a $b"
slice cond-c cond "[$A, conditions: { ready: true } }]"
settle
expect "S2: an endpoint in two slices counts once" "$(chosen one 10.96.20.1)" "$a $b"
$LAB delete - <<'YAML'
{ apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: { name: cond-c, namespace: default } }
YAML
endpoints cond "$A, conditions: { ready: false, serving: true, terminating: true } }" "$B }"
expect "S4: none that ends while one is ready" "$(chosen one 10.96.20.1)" "$b"
reached "S4: and only that one answers" pod-default-client TCP 10.96.20.1 80 "4 default/b-1"
endpoints cond "$A, conditions: { ready: false, serving: true, terminating: true } }" "$B, conditions: { ready: false } }"
expect "S4: one that ends and serves, when none is ready" "$(chosen one 10.96.20.1)" "$a"
reached "S4: and it answers" pod-default-client TCP 10.96.20.1 80 "4 default/a-1"
endpoints cond "$A, conditions: { ready: false, serving: false, terminating: true } }" "$B, conditions: { ready: false } }"
expect "S4: none that fails its readiness" "$(chosen one 10.96.20.1)" ""
by_hand cond 10.96.20.1 "publishNotReadyAddresses: true"
endpoints cond "$A, conditions: { ready: true, serving: false, terminating: true } }" "$B, conditions: { ready: true } }"
expect "S6: published though not ready" "$(chosen one 10.96.20.1)" "$a $b"

by_hand local 10.96.20.2 "type: LoadBalancer, internalTrafficPolicy: Local" 30082 "{ ip: 198.51.100.30 }"
endpoints local "$A }" "$B }"
expect "S7: internal Local takes this node's" "$(chosen one 10.96.20.2) / $(chosen two 10.96.20.2)" "$a / $b"
expect "S7: and leaves the other addresses alone" "$(chosen one 198.51.100.30)" "$a $b"
reached "S7: a pod reaches its node's endpoint" pod-default-client TCP 10.96.20.2 80 "4 default/a-1"
endpoints local "" "$B }"
expect "S7: none when none is local" "$(chosen one 10.96.20.2)" ""
expect "S7: and nobody answers" "$(probe_all pod-default-client TCP 2 10.96.20.2 80 | grep -c default/)" "0"

by_hand local 10.96.20.2 "type: LoadBalancer, externalIPs: [203.0.113.30], externalTrafficPolicy: Local" 30082 "{ ip: 198.51.100.30 }"
endpoints local "$A }" "$B }"
for vip in 198.51.100.30 203.0.113.30; do
  expect "S8: external Local takes this node's for $vip" "$(chosen one $vip) / $(chosen two $vip)" "$a / $b"
  reached "S8: the way in decides: by one" client-outside TCP $vip 80 "4 default/a-1"
  reached "S8: the way in decides: by two" client-beside TCP $vip 80 "4 default/b-1"
  expect "S8: the client keeps its address" "$(ask client-beside $vip 80 2 | seen_as)" "192.168.50.98"
done
for vip in 198.51.100.30 203.0.113.30 192.168.50.11; do
  port=80
  [ $vip != 192.168.50.11 ] || port=30082
  for from in pod-default-client node-one; do
    reached "S8: clients inside get all, $from at $vip" $from TCP $vip $port "$BOTH"
  done
done
expect "S8: a pod keeps its address" "$(ask pod-default-client 198.51.100.30 80 4 | seen_as)" "$(ask pod-default-client 10.96.1.1 80 4 | seen_as)"
reached "S8: node ports as well" client-outside TCP 192.168.50.12 30082 "4 default/b-1"
expect "S8: the cluster IP has all" "$(chosen one 10.96.20.2)" "$a $b"
endpoints local "" "$B, conditions: { ready: false, serving: true, terminating: true } }"
expect "S8, S4: the local one that ends, and none elsewhere" "$(chosen one 198.51.100.30) / $(chosen two 198.51.100.30)" " / $b"
for from in pod-default-client node-one; do
  reached "S8, S4: clients inside get the one that ends elsewhere, $from" $from TCP 198.51.100.30 80 "4 default/b-1"
done
expect "S8: none local: nobody answers" "$(probe_all client-outside TCP 2 198.51.100.30 80 | grep -c default/)" "0"
by_hand local 10.96.20.2 "type: LoadBalancer, externalTrafficPolicy: Local, sessionAffinity: ClientIP" 30082 "{ ip: 198.51.100.30 }"
endpoints local "$A }, $C }" "$B }"
expect "S14: affinity and Local together" "$(ask client-outside 198.51.100.30 80 6 | answered_by | wc -l)" "1"
expect_line "S14: persistent" "$(ipvs one)" "TCP 198.51.100.30:80 rr persistent 10800"
for from in pod-default-client node-one; do
  expect "S14, S8: a client inside stays with one endpoint, $from" "$(ask $from 198.51.100.30 80 8 | answered_by | wc -l)" "1"
done

by_hand near 10.96.20.3 "trafficDistribution: PreferSameZone"
hint() { echo "hints: { forZones: [{ name: $1 }] }"; }
hint_node() { echo "hints: { forZones: [{ name: $1 }], forNodes: [{ name: $2 }] }"; }
endpoints near "$A, $(hint a) }" "$B, $(hint b) }"
expect "S11: each zone has its own" "$(chosen one 10.96.20.3) / $(chosen two 10.96.20.3)" "$a / $b"
reached "S11: and its own answers" pod-default-client TCP 10.96.20.3 80 "4 default/a-1"
endpoints near "$A, $(hint a) }" "$B }"
expect "S11: not when one has no hint" "$(chosen one 10.96.20.3)" "$a $b"
endpoints near "$A, $(hint b) }" "$B, $(hint b) }"
expect "S11: not when none is for this zone" "$(chosen one 10.96.20.3)" "$a $b"
endpoints near "$A, $(hint_node a one) }, $C, $(hint_node a other) }" "$B, $(hint_node a two) }"
expect "S11: a node's hint goes before a zone's" "$(chosen one 10.96.20.3)" "$a"
by_hand near 10.96.20.3 "internalTrafficPolicy: Local"
endpoints near "$A, $(hint b) }" "$B, $(hint a) }"
expect "S11: Local goes before hints" "$(chosen one 10.96.20.3)" "$a"

# Affinity (S13): a client stays while its endpoint lives, whatever others do, and moves at once when it goes.
by_hand sticky 10.96.20.4 "sessionAffinity: ClientIP, sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } }"
endpoints sticky "$A }, $C }" "$B }"
first=$(ask pod-default-client 10.96.20.4 80 4 | answered_by)
[[ $first =~ ^4\ default/([abc]-[12])$ ]] || fail "S13: one client, one pod" "$first"
pass "S13: one client, one pod"
mine=${BASH_REMATCH[1]}
keep() { # keep POD: the slices hold only this one
  case $1 in
    a-1) endpoints sticky "$A }" "" ;;
    a-2) endpoints sticky "$C }" "" ;;
    b-1) endpoints sticky "" "$B }" ;;
  esac
}
keep "$mine"
expect "S13: it stays when all others go" "$(ask pod-default-client 10.96.20.4 80 4 | answered_by)" "4 default/$mine"
endpoints sticky "$A }, $C }" "$B }"
expect "S13: it stays when others come" "$(ask pod-default-client 10.96.20.4 80 8 | answered_by)" "8 default/$mine"
$LAB agent kill one
$LAB agent start one
settle
expect "S13: it stays over a restart of the agent" "$(ask pod-default-client 10.96.20.4 80 4 | answered_by)" "4 default/$mine"
case $mine in a-1) keep b-1 ;; *) keep a-1 ;; esac
moved=$(ask pod-default-client 10.96.20.4 80 4 | answered_by)
[[ $moved =~ ^4\ default/ && $moved != "4 default/$mine" ]] || fail "S13: it moves at once when its endpoint goes" "$moved"
pass "S13: it moves at once when its endpoint goes"

# Families and ports of a Service change while it lives (S20, S23, S24).
families() { # families CLUSTERIPS FAMILIES POLICY [PORTS]
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: dual, namespace: default }
spec: { type: LoadBalancer, allocateLoadBalancerNodePorts: false, clusterIP: 10.96.20.5, clusterIPs: [$1], ipFamilies: [$2], ipFamilyPolicy: $3, selector: { app: web }, ports: [${4:-{ name: http, port: 80, targetPort: http \}}] }
YAML
  settle
}
families 10.96.20.5 IPv4 SingleStack
expect "S20, S23: one family, no node port" "$(services one | grep -cE '10.96.20.5|fd00:96::20')" "1"
families '10.96.20.5, "fd00:96::20"' "IPv4, IPv6" PreferDualStack
reached "S20: the second family comes" pod-default-client TCP fd00:96::20 80 "$BOTH"
families 10.96.20.5 IPv4 SingleStack
lacks "S20: and goes" has_service one "TCP [fd00:96::20]:80"
families 10.96.20.5 IPv4 SingleStack '{ name: http, port: 53, targetPort: http }, { name: dns, protocol: UDP, port: 53, targetPort: 5353 }'
reached "S24: one number by TCP" pod-default-client TCP 10.96.20.5 53 "$BOTH"
reached "S24: and by UDP" pod-default-client UDP 10.96.20.5 53 "$BOTH"

# Spellings of old objects (S33) and addresses that are no endpoint's (S1, S32).
by_hand odd 010.096.020.006 ""
$LAB apply - <<'YAML'
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: odd-1, namespace: default, labels: { kubernetes.io/service-name: odd } }
addressType: IPv4
ports: [{ name: http, protocol: TCP, port: 8080 }]
endpoints: [{ addresses: ["010.244.001.005", 10.244.1.6] }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: odd-2, namespace: default, labels: { kubernetes.io/service-name: odd } }
addressType: FQDN
ports: [{ name: http, protocol: TCP, port: 8080 }]
endpoints: [{ addresses: [example.org] }]
YAML
settle
expect "S1, S32, S33: the first address, canonical, and no names" "$(chosen one 10.96.20.6)" "$a"
reached "S33: and it answers" pod-default-client TCP 10.96.20.6 80 "4 default/a-1"
