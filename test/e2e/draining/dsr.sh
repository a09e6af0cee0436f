#!/usr/bin/env bash
# Direct server return: connections of an endpoint that goes go on by their tunnel; with their Service they end.
. "$(dirname "$0")/lib.sh"

EXT4=203.0.113.1 EXT6=fd00:203::1
RANGE=--service-external-ip-range=203.0.113.0/24,fd00:203::/112

direct() { # direct POLICY
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: direct, namespace: default, annotations: { kube-router.io/service.dsr: tunnel } }
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  clusterIP: 10.96.1.2
  clusterIPs: [10.96.1.2, "fd00:96::2"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [$EXT4, "$EXT6"]
  externalTrafficPolicy: $1
  selector: { app: web }
  ports: [{ name: long, port: 9000 }]
YAML
  settle
}
ending() { pod "$1" True "$TERMINATING" | $LAB apply -; settle; }
ready() { pod "$1" | $LAB apply -; settle; }
weights() { # weights: of IPv4's virtual service, "address weight"
  on ipvsadm -Ln | tr -s ' ' | awk '/^FWM/ { on = $0 !~ /IPv6/ } /^(TCP|UDP|SCTP) / { on = 0 } on && $2 ~ /:9000$/ { print $2, $4 }' | sort
}
end_all() { touch "$LAB_OUT/$1.end"; }

# Both pods are here: requests and answers pass this node.
$LAB agent flags one -- $RANGE
$LAB agent restart one
pod 1 | $LAB apply -
direct Cluster
echo_server 1
for client in four six; do
  vip=$EXT4
  [ $client = four ] || vip=$EXT6
  talk $client client-outside $vip 9000
  expect "a client is at its pod ($client)" "$(partner $client)" "web-1"
done
pod 3 | $LAB apply -
echo_server 3
settle
ending 1
expect "the endpoint that ends gets no new connections" "$(weights)" "$(address 1):9000 0
$(address 3):9000 1"
goes_on four "connections to the pod that ends go on"
goes_on six "over IPv6 too"
talk next client-outside $EXT4 9000
expect "new ones go elsewhere" "$(partner next)" "web-3"
end_all next

# Under a Local policy, with the only ready endpoint on the other node: silence for new clients alone.
leaves() { pod "$1" | sed 's/app: web/app: gone/' | $LAB apply -; }
leaves 3
pod 2 | $LAB apply -
pod 1 False "$TERMINATING" | $LAB apply -
direct Local
goes_on four "they go on under a Local policy that takes no new ones"
goes_on six "over IPv6 too"
late=$(echo '{"from":"client-outside","to":"'$EXT4'","port":9000,"timeoutMs":700}' | $LAB probe | jq -r .result)
expect "which get no answer" "$late" "timeout"
end_all four
end_all six
pod 2 | $LAB delete -

# With the flag: an endpoint that is gone from its slice while the pod lives.
$LAB agent flags one -- $RANGE --ipvs-graceful-termination
$LAB agent restart one
direct Cluster
ready 1
talk long client-outside $EXT4 9000
expect "a client is at its pod" "$(partner long)" "web-1"
leaves 1
settle
expect "its endpoint drains" "$(weights)" "$(address 1):9000 0"
goes_on long "its connection goes on, for its pod keeps the VIP"
plan_is_empty "the plan is empty meanwhile"
$LAB agent kill one
$LAB agent start one
settle
goes_on long "also over a restart of the agent"

# The Service goes: nothing marks its packets any more, so nothing stays.
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: direct, namespace: default }\n' | $LAB delete -
settle
expect "with its Service all of it goes" "$(on sh -c 'ipvsadm -Ln | grep FWM; ip rule | grep "lookup 78"; iptables-save -t mangle | grep DSR')" ""
expect "in the pod too" "$($LAB exec pod-default-web-1 ip -o addr | grep -c kube-tunnel)" "0"
end_all long
