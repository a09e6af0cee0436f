#!/usr/bin/env bash
# The agent's own Node: of a name that there is not, gone while it runs, gone while it starts, without a pod CIDR. All that is in
# Linux stays. All three plugins run, as by default.
. "$(dirname "$0")/lib.sh"
FLAGS="--service-cluster-ip-range=10.96.0.0/16 --enable-cni=false"
KUBECONFIG_OF_ONE=/run/lab/nodes/one/kubeconfig
BOTH="2 default/web-1
2 default/web-2"
before=$(snapshot)
node_of_one() { # node_of_one: as the API server has it
	curl -sf -H "Authorization: Bearer $LAB_TOKEN" "$LAB_API/api/v1/nodes/one"
}
is_waiting() { ask_health readyz | grep -qx -- '- plugin proxy waits: Node "one" not found; .*'; }
is_well() { is_ready && [ "$(on curl -s http://127.0.0.1:20244/status | jq '[.plugins[].problemCount] | add')" = 0 ]; }
node_of_one >"$WORK/node.json" || fail "the Node is there" "$(cat "$WORK/node.json")"

# A name that there is not.
agent --kubeconfig=$KUBECONFIG_OF_ONE --hostname-override=onne
says "the log says what is waited for, with the remedy" 'WARN +Plugin waits .*reason="Node "onne" not found; .*--hostname-override'
has "the node is not ready" "$(ask_health readyz)" '^503$'
for plugin in proxy router firewall; do
	has "for that reason" "$(ask_health readyz)" "^- plugin $plugin waits: Node \"onne\" not found; "
done
has "it is alive" "$(ask_health livez)" '^200$'
has "the status says so" "$(routelet status)" '^  - plugin proxy waits: Node "onne" not found; .*--hostname-override'
has "plan says so" "$(routelet plan --hostname-override=onne 2>&1)" '^routelet: Cannot plan: Node "onne" not found; '
same_snapshot "nothing is changed" "$before"
stop

# Gone while the agent runs, and then without an address.
agent --kubeconfig=$KUBECONFIG_OF_ONE
within 20 "with its right name it is ready" is_applied
served=$(snapshot)
$LAB delete "$WORK/node.json"
says "a Node that goes is told of" 'WARN .*problem="Node "one" not found; what was last known of it, address 192.168.50.11, stays in use; '
same_snapshot "and its Services stay" "$served"
is_ready || fail "the node stays ready" "$(ask_health readyz)"
jq '.metadata.name = "scratch" | .metadata.namespace = "default" | .kind = "Service" | .apiVersion = "v1"
	| .spec = {clusterIP: "10.96.1.7", selector: {app: "web"}, ports: [{port: 80, targetPort: 8080}]} | del(.status, .metadata.uid, .metadata.annotations)' \
	"$WORK/node.json" | $LAB apply -
within 5 "a Service that is new is served all the same" sh -c "$LAB exec node-one ipvsadm -Ln | grep -A2 'TCP  10.96.1.7:80' | grep -q 10.244.1.6"
expect "by both pods" "$(probe_all pod-default-client TCP 4 10.96.1.7 80)" "$BOTH"
served=$(snapshot)

# A restart while it is gone.
stop
agent --kubeconfig=$KUBECONFIG_OF_ONE
says "an agent that starts without its Node waits" 'WARN +Plugin waits .*reason="Node "one" not found; '
is_waiting || fail "and is not ready" "$(ask_health readyz)"
same_snapshot "and leaves what is there as it is" "$served"
expect "traffic goes on" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "$BOTH"
$LAB apply "$WORK/node.json"
within 10 "when its Node is back all is well" is_well
same_snapshot "and nothing had to change" "$served"
expect "plan agrees" "$(routelet plan 2>&1)" ""
stop

# Without a pod CIDR: one clear message, and everything but the pod network as before.
jq '[.spec | keys[] | select(startswith("podCIDR")) | { op: "remove", path: "/spec/\(.)" }]' "$WORK/node.json" >"$WORK/patch.json"
curl -sf -X PATCH -H "Authorization: Bearer $LAB_TOKEN" -H "Content-Type: application/json-patch+json" \
	-d @"$WORK/patch.json" "$LAB_API/api/v1/nodes/one" >/dev/null || fail "the Node loses its pod CIDR" "$(cat "$WORK/patch.json")"
agent --kubeconfig=$KUBECONFIG_OF_ONE
says "a Node without a pod CIDR is told of, with the remedy" 'WARN .*plugin=router .*Node "one" has no pod CIDR .*--allocate-node-cidrs.*--run-router=false'
within 20 "the node is ready" is_ready
expect "that is all there is to complain of" "$(on curl -s http://127.0.0.1:20244/status | jq '[.plugins[].problemCount] | add')" 1
expect "Services are served" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "$BOTH"
within 5 "the router has no packet rules" sh -c "! $LAB exec node-one iptables-save | grep KUBE-ROUTER-RT"
has "BGP runs" "$(routelet bgp neighbors)" '^Peer '
stop
