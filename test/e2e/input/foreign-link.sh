#!/usr/bin/env bash
# A kube-dummy-if that is kube-router's: nothing is put on it, the node is unready and says what helps, and heals at once.
. "$(dirname "$0")/lib.sh"
KUBECONFIG_OF_ONE=/run/lab/nodes/one/kubeconfig
REASON='Linux holds link kube-dummy-if type dummy .*up, which is not ours; stop the program that made it \(kube-router makes links of this name\) and remove it with "ip link del kube-dummy-if"'
on ip link add kube-dummy-if type dummy
on ip link set kube-dummy-if up
on ip address add 10.96.99.1/32 dev kube-dummy-if
theirs() { on sh -c 'ip -o address show dev kube-dummy-if | grep -v fe80; ip route show table all dev kube-dummy-if | grep -vE "fe80|multicast"'; }
before=$(theirs)

agent --kubeconfig=$KUBECONFIG_OF_ONE
says "the log says why the proxy cannot work, with the remedy" "ERROR +Plugin degraded .*$REASON"
expect "said once" "$(log | grep -c 'kube-dummy-if" is not ours\|Refused address\|Linux refused')" 0
has "the node is not ready" "$(ask_health readyz)" '^503$'
has "for that reason" "$(ask_health readyz)" "^- plugin proxy is degraded: $REASON"
has "load balancers hear of it" "$(ask_health healthz)" '^500$'
has "the kubelet does not" "$(ask_health livez)" '^200$'
expect "it is the one problem" "$(routelet status --output json | jq '.plugins[0].problemCount')" 1
expect "nothing is put onto their link" "$(theirs)" "$before"
on ip link del kube-dummy-if
within 2 "when it is gone the node is ready" is_ready
within 2 "with the VIPs on a link of ours" sh -c "$LAB exec node-one ip -o address show dev kube-dummy-if | grep -q 10.96.1.1/32 && $LAB exec node-one ip -d link show kube-dummy-if | grep -q routelet:proxy"
expect "that are served" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "2 default/web-1
2 default/web-2"
expect "plan finds nothing" "$(routelet plan 2>&1)" ""

# Somebody takes it away and puts another in its place, while we run.
on sh -c 'ip link del kube-dummy-if && ip link add kube-dummy-if type dummy && ip link set kube-dummy-if up'
sleep 2
if is_ready; then
	has "ours was there first" "$(on ip -d link show kube-dummy-if)" 'routelet:proxy'
else
	expect "theirs is left alone" "$(theirs)" ""
	on ip link del kube-dummy-if
	within 2 "and ours is made when it goes" is_ready
fi
expect "and Services are served" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "2 default/web-1
2 default/web-2"
stop
