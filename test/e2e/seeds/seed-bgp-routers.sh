#!/bin/bash
# The routers learn VIPs from both nodes and each pod CIDR from its node; a host outside reaches all of them.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/bgp/lib.sh"

settle
eventually "R1 has sessions with both nodes" r1_established node01 node03
eventually "R2 has sessions with both nodes" r2_established 10.129.6.211 10.129.6.213
for vip in 10.33.1.11/32 10.110.133.162/32 10.96.0.10/32 10.96.0.1/32; do
  eventually "R1 has $vip from both nodes" r1_has "$vip" 10.129.6.211 10.129.6.213
  eventually "R2 has $vip from both nodes" r2_has "$vip" 10.129.6.211 10.129.6.213
done
for r in r1 r2; do
  eventually "${r^^} has node01's pods by node01 alone" ${r}_has 10.244.0.0/24 10.129.6.211
  eventually "${r^^} has node03's pods by node03 alone" ${r}_has 10.244.1.0/24 10.129.6.213
done
expect "the nodes have each other's pods" \
  "$($LAB exec node-node01 ip route show 10.244.1.0/24 | tr -s ' ' | sed 's/ $//')" \
  "10.244.1.0/24 via 10.129.6.213 dev eth0 proto 202"

by R1
for to in 10.110.133.162 10.33.1.11; do
  eventually "a host outside reaches $to" reached "$to"
done
expect "and a pod" "$(ask client-outside 10.244.1.5 80 2 | answered_by)" "2 default/nginx-b"

# A Service that goes is withdrawn, and one that comes is announced.
cat <<'YAML' | $LAB apply - >/dev/null
apiVersion: v1
kind: Service
metadata: { name: more, namespace: default }
spec: { clusterIP: 10.96.0.77, selector: { app: nginx01 }, ports: [{ port: 80 }] }
YAML
eventually "a new VIP is announced" r1_has 10.96.0.77/32 10.129.6.211 10.129.6.213
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: more, namespace: default }\n' | $LAB delete - >/dev/null
eventually "and withdrawn" r1_has 10.96.0.77/32
