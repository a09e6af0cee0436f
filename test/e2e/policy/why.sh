#!/usr/bin/env bash
# What `routelet policy` and the metrics say is what packets meet.
. "$(dirname "$0")/lib.sh"
why() { $LAB run node1 -- policy why "$@"; }
packets() { # packets SOURCE DESTINATION PORT: of what decides, all judgements added
  why "$@" --output=json | jq '[.connections[].judgements[].packets] | add'
}

expect "without policies there is nothing to list" "$($LAB run node1 -- policy list)" "No policy concerns the pods of node1"
policy a/web '{ podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: dns } } }] }, { from: [{ podSelector: { matchLabels: { app: db } } }], ports: [{ port: http }] }] }'
policy b/out '{ podSelector: { matchLabels: { app: db } }, policyTypes: [Egress] }'
policy c/elsewhere '{ podSelector: {} }'
expect "it lists those that concern pods of this node" "$($LAB run node1 -- policy list | grep -v chain)" "$(printf '%s\n' \
  'a/web  ingress, 1 pod here' '  pods a/web' 'b/out  egress, 1 pod here' '  pods b/db')"

for family in 4 6; do
  web=$([ $family = 4 ] && echo 10.1.1.2 || echo fd01:1::2)
  # Each pair with what packets say.
  for pod in a-db a-dns b-web b-db c-other; do
    said=$(why "${pod/-//}" "$web" TCP/80 --output=json | jq -r '.connections[0].allowed')
    got=$(reach TCP 80 "pod-$pod" -- "$web" | cut -d' ' -f3)
    expect "$pod to $web" "$said $got" "$([ "$got" = yes ] && echo "true yes" || echo "false no")"
  done
done
# `routelet why` says it of Services, by the endpoint behind them.
for pod in a-dns b-db; do
  said=$($LAB run node1 -- why "${pod/-//}" svc/a/web --output=json | jq -r '.targets[] | .target.address + (if .result == "reaches" then " yes" else " no" end)' | sort)
  expect "$pod to the Service in both families" "$said" "$(reach TCP 80 "pod-$pod" -- 10.96.0.10 fd00:96::10 | cut -d' ' -f2-)"
done
expect "it names policy and rule" "$(why a/db a/web TCP/80 | grep -c 'ingress of a/web: allowed, rule 1 of policy a/web')" "2"
expect "it names who denies" "$(why b/web a/web TCP/80 | grep -c 'ingress of a/web: denied, no rule of policy a/web')" "2"
expect "both ends are judged" "$(why b/db a/web | grep -cE '(egress of b/db: denied, no rule of policy b/out|ingress of a/web: denied)')" "4"
expect "it says which node judges the rest" "$(why a/web c/other TCP/80 | grep -c 'c/other on node2: ask there too')" "2"
expect "an address is an end" "$(why 192.168.1.99 10.1.1.2 TCP/80 | head -n 1)" "192.168.1.99 -> tcp 10.1.1.2:80: denied on node1"
chain=$(why a/db 10.1.1.2 TCP/80 | awk '$1 == "chain" { sub(",", "", $2); print $2 }')
expect "the chain is there" "$($LAB exec node-node1 iptables -S "$chain" | head -n 1)" "-N $chain"
for pair in "a/db 10.1.1.2 TCP/80 pod-a-db" "b/web 10.1.1.2 TCP/80 pod-b-web"; do
  read -r source destination port netns <<<"$pair"
  before=$(packets "$source" "$destination" "$port")
  reach TCP 80 "$netns" -- "$destination" >/dev/null
  after=$(packets "$source" "$destination" "$port")
  [ "$after" -gt "$before" ] || fail "its counter counts what $source sends" "$before, then $after"
  pass "its counter counts what $source sends"
done
why a/none a/web 2>&1 | grep -q 'No pod "a/none"' || fail "an unknown pod is named" "$(why a/none a/web 2>&1)"
pass "an unknown pod is named"

$LAB agent flags node1 -- --metrics-port=20241
$LAB agent restart node1
$LAB wait >/dev/null
metrics=$($LAB exec node-node1 curl -s http://127.0.0.1:20241/metrics)
for name in controller_iptables_sync_time_count controller_policy_chains_sync_time_count controller_iptables_v4_save_time_count \
  controller_iptables_v6_save_time_count controller_iptables_v4_restore_time_count controller_iptables_v6_restore_time_count \
  controller_policy_ipset_v4_restore_time_count controller_policy_ipset_v6_restore_time_count controller_policy_chains controller_policy_ipsets; do
  printf '%s\n' "$metrics" | grep -q "^kube_router_$name " || fail "metric $name" "$(printf '%s\n' "$metrics" | grep -E 'policy|iptables')"
done
pass "kube-router's metrics are there by name"
expect "chains are counted over families" "$(printf '%s\n' "$metrics" | awk '$1 == "kube_router_controller_policy_chains" { print $2 }')" "4"
