#!/bin/bash
# Service ranges as one route each; single VIPs only where nodes differ; what a Service keeps to itself is left out.
. "$(dirname "$0")/../seeds/lib.sh"
. "$(dirname "$0")/../seeds/bgp/lib.sh"

for n in node01 node03; do
  # A way back to the routers, by which packets to nobody's address would go round and round.
  $LAB exec "node-$n" ip route replace default via 10.129.6.91
  $LAB agent flags "$n" -- --advertise-service-ranges --advertise-loadbalancer-ip \
    --run-loadbalancer --loadbalancer-ip-range=10.35.0.0/24
  $LAB agent restart "$n"
done
settle
eventually "R1 has sessions with both nodes" r1_established node01 node03
eventually "R1 has the range of cluster IPs from both nodes" r1_has 10.96.0.0/12 10.129.6.211 10.129.6.213
eventually "and that of external IPs" r1_has 10.33.1.0/24 10.129.6.211 10.129.6.213
eventually "R2 too" r2_has 10.96.0.0/12 10.129.6.211 10.129.6.213
singles() { # the host routes that R1 has from nodes
  $LAB exec router-R1 birdc show route | grep -o '^[0-9.]*/32' | sort -u | words
}
expect "and no VIP for itself" "$(singles)" ""
by R1
for to in 10.110.133.162 10.33.1.11; do
  eventually "a host outside reaches $to by the range" reached "$to"
done
nobody() { ask client-outside 10.96.77.77 80 1 | tee "$LAB_OUT/nobody" | grep -q '^refused ' || { cat "$LAB_OUT/nobody"; false; }; }
eventually "an address that no service has is refused, and not sent back" nobody

apply() { $LAB apply - >/dev/null || fail "cannot apply" ""; }
local_service() { # local_service POLICY
  cat <<YAML | apply
apiVersion: v1
kind: Service
metadata: { name: near, namespace: default }
spec: { clusterIP: 10.96.0.20, externalIPs: [10.33.1.12], externalTrafficPolicy: $1, selector: { only: b }, ports: [{ port: 80 }] }
YAML
}
cat <<'YAML' | apply
apiVersion: v1
kind: Pod
metadata: { name: near-b, namespace: default, labels: { only: b } }
spec: { nodeName: node03, containers: [{ name: web, ports: [{ containerPort: 80 }] }] }
status: { podIP: 10.244.1.6 }
YAML
local_service Local
eventually "a VIP of the policy Local is announced by the node with its pod alone" r1_has 10.33.1.12/32 10.129.6.213
expect "beside the range, and no other one" "$(singles)" 10.33.1.12/32
eventually "and is reached there" reached 10.33.1.12
local_service Cluster
eventually "with the policy Cluster the range stands for it" r1_has 10.33.1.12/32
eventually "and it is reached" reached 10.33.1.12

opted() { # opted VALUE
  cat <<YAML | apply
apiVersion: v1
kind: Service
metadata: { name: shy, namespace: default, annotations: { kube-router.io/service.advertise.externalip: "$1" } }
spec: { clusterIP: 10.96.0.30, externalIPs: [10.33.1.13], selector: { app: nginx01 }, ports: [{ port: 80 }] }
YAML
}
opted false
covered() { $LAB exec router-R1 birdc show route for 10.33.1.13 | grep -q 'node0'; }
hidden() { ! covered && r1_has 10.33.1.11/32 10.129.6.211 10.129.6.213; }
eventually "a VIP that may not be announced is in no route, and the others of its range are single" hidden
expect "which are these" "$(singles)" "10.33.1.11/32 10.33.1.12/32"
opted true
eventually "when it may, the range is back" r1_has 10.33.1.0/24 10.129.6.211 10.129.6.213
gone() { [ "$(singles)" = "" ] || { singles; false; }; }
eventually "and the single ones are gone" gone
$LAB run node01 -- bgp why 10.33.1.13 >"$LAB_OUT/why"
grep -q 'longest known network that covers it is 10.33.1.0/24' "$LAB_OUT/why" || fail "why does not name the range" "$(cat "$LAB_OUT/why")"
pass "why names the range"

# What the allocator gives, the proxy serves and the router announces.
balanced() { # balanced NAME POLICY CLUSTERIP
  cat <<YAML | apply
apiVersion: v1
kind: Service
metadata: { name: $1, namespace: default }
spec:
  {
    type: LoadBalancer, clusterIP: $3, externalTrafficPolicy: $2, loadBalancerIP: 10.35.0.7,
    selector: { only: b }, ports: [{ port: 80 }],
  }
YAML
}
ingress() { # the addresses in a Service's status
  curl -s -H "Authorization: Bearer $LAB_TOKEN" "$LAB_API/api/v1/namespaces/default/services/$1" |
    jq -r '[.status.loadBalancer.ingress[]?.ip] | join(" ")'
}
has_ingress() { [ "$(ingress "$1")" = "$2" ] || { ingress "$1"; false; }; }
balanced given Local 10.96.0.40
eventually "a Service of type LoadBalancer gets the address that it asks for" has_ingress given 10.35.0.7
eventually "which the node with its pod announces" r1_has 10.35.0.7/32 10.129.6.213
eventually "and serves" reached 10.35.0.7
balanced second Cluster 10.96.0.41
told() {
  curl -s -H "Authorization: Bearer $LAB_TOKEN" "$LAB_API/api/v1/namespaces/default/events" |
    jq -r '.items[] | select(.involvedObject.name == "second").message' | tee "$LAB_OUT/told" |
    grep -q 'asks for 10.35.0.7, but it is in use by Service "default/given"' || { cat "$LAB_OUT/told"; false; }
}
eventually "another that asks for it is told who has it" told
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: given, namespace: default }\n' | $LAB delete - >/dev/null
eventually "when that goes, the other has it" has_ingress second 10.35.0.7
eventually "and by the policy Cluster the range stands for it" r1_has 10.35.0.0/24 10.129.6.211 10.129.6.213
eventually "on which it is reached" reached 10.35.0.7
eventually "and the single route is gone" gone

$LAB run node01 -- plan >"$LAB_OUT/plan" 2>&1
expect "nothing is left to do" "$?:$(cat "$LAB_OUT/plan")" "0:"
