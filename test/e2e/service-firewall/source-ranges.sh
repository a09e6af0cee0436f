#!/usr/bin/env bash
# loadBalancerSourceRanges: at load balancer IPs only their clients come in, of either family; the node itself always may.
. "$(dirname "$0")/lib.sh"

$LAB agent flags one -- --loadbalancer-ip-range=10.250.0.0/16,fd00:250::/64 --service-external-ip-range=10.251.0.0/16
$LAB agent restart one
settle
LBS="10.250.0.1 fd00:250::1"
ALL="pod-default-client client-outside node-one"

balanced() { # balanced RANGE,…
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: balanced, namespace: default }
spec:
  type: LoadBalancer
  clusterIPs: [10.96.3.1, "fd00:96::3:1"]
  externalIPs: [10.251.0.1]
  selector: { app: web }
  loadBalancerSourceRanges: [$1]
  ports:
    - { name: http, port: 80, targetPort: 8080, nodePort: 30301 }
    - { name: dns, protocol: UDP, port: 53, targetPort: 5353 }
status: { loadBalancer: { ingress: [{ ip: 10.250.0.1 }, { ip: "fd00:250::1" }] } }
YAML
  settle
}
who() { # who PROTOCOL PORT ADDRESS…: who gets an answer, one line each
  local protocol=$1 port=$2
  shift 2
  results $protocol $port $ALL -- "$@" | sed 's/ ok .*/ ok/'
}

balanced ""
expect "without ranges everyone may" "$(who TCP 80 $LBS)" "$(every ok $ALL -- $LBS)"

balanced '"192.168.50.99/32", "fd00:50::/64"'
for each in TCP:80 UDP:53; do
  expect "over ${each%:*} clients outside the ranges are dropped" "$(who ${each%:*} ${each#*:} $LBS)" "client-outside 10.250.0.1 ok
client-outside fd00:250::1 ok
node-one 10.250.0.1 ok
node-one fd00:250::1 ok
pod-default-client 10.250.0.1 timeout
pod-default-client fd00:250::1 timeout"
done
expect "cluster IPs, external IPs and NodePorts are not limited" "$(who TCP 80 10.96.3.1 fd00:96::3:1 10.251.0.1)" "$(every ok $ALL -- 10.96.3.1 fd00:96::3:1 10.251.0.1)"
expect "a NodePort is not limited" "$(results TCP 30301 pod-default-client -- 192.168.50.11 | cut -d' ' -f3)" "ok"
expect "the sources are one set for all Services" "$(members kube-router-svip-src)" "10.250.0.1,tcp:80,192.168.50.99
10.250.0.1,udp:53,192.168.50.99"

balanced '10.244.0.0/16'
expect "ranges of one family close the other" "$(who TCP 80 $LBS)" "client-outside 10.250.0.1 timeout
client-outside fd00:250::1 timeout
node-one 10.250.0.1 ok
node-one fd00:250::1 ok
pod-default-client 10.250.0.1 ok
pod-default-client fd00:250::1 timeout"

balanced 'anything, 192.168.50.0/24'
expect "a range that is none admits nobody" "$(results TCP 80 pod-default-client client-outside -- 10.250.0.1 | sed 's/ ok .*/ ok/')" "client-outside 10.250.0.1 ok
pod-default-client 10.250.0.1 timeout"
$LAB run one -- status | grep -q 'Source range "anything" is not a CIDR' || fail "the status names it" "$($LAB run one -- status)"
pass "the status names it"

balanced '0.0.0.0/0, "::/0"'
expect "the whole world is everyone" "$(who TCP 80 $LBS)" "$(every ok $ALL -- $LBS)"
expect "nothing is left in the sets" "$(members kube-router-svip-limited)$(members inet6:kube-router-svip-src)" ""
