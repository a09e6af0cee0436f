#!/usr/bin/env bash
# Credentials that do not work: each is said once for each kind of object, the agent is unready with the reason, Linux stays as it
# was, and all is well as soon as they are mended.
. "$(dirname "$0")/lib.sh"

KINDS=4 # Services, EndpointSlices, ServiceCIDRs, the Node
declare -A PATTERNS=(
	[expired-client]='refuses the credentials of the kubeconfig .*/expired-client": the client certificate expired at 20.*Z'
	[expired-server]="the API server's certificate has expired: renew it"
	[unknown-ca]='certificate is not from a CA that we trust: correct the CA .*/unknown-ca"'
	[refused-token]='refuses the credentials of the kubeconfig .*/refused-token": is the token'
	[forbidden]='RBAC forbids it: a ClusterRole of the kubeconfig .* must allow "list" of "(services|nodes|endpointslices.discovery.k8s.io)"'
)
declare -A REMEDIES=([expired-client]=certificate [expired-server]=renew [unknown-ca]=trust [refused-token]=token [forbidden]=allow)
declare -A BEFORE

coproc API { "$BUN" "$HERE/api.ts" "$WORK" 2>&1; }
# Copies: bash closes its own when the process ends.
exec 8<&"${API[0]}" 9>&"${API[1]}"
api() { # api COMMAND
	local answer
	echo "$1" >&9
	read -r -t 10 answer <&8 && [ "$answer" = done ] || fail "the API server does $1" "${answer:-nothing}"
}
read -r -t 20 answer <&8 && [ "$answer" = ready ] || fail "the API server starts" "${answer:-nothing}"
api deny

for NODE in $LAB_NODES; do
	BEFORE[$NODE]=$(snapshot)
	agent "--kubeconfig=$WORK/$NODE"
done
for NODE in $LAB_NODES; do
	says "$NODE: the log says it" "${PATTERNS[$NODE]}"
done
for NODE in $LAB_NODES; do
	pattern=${PATTERNS[$NODE]}
	readyz=$(ask_health readyz)
	has "$NODE: /readyz gives the reason" "$readyz" "$pattern"
	has "$NODE: /readyz answers 503" "$readyz" '^503$'
	has "$NODE: it is alive all the same" "$(ask_health livez)" '^200$'
	status=$(routelet status) && fail "$NODE: status exits with 1" "$status"
	has "$NODE: the status gives the reason" "$status" "$pattern"
	count=$(log | grep -cE "$pattern")
	[ "$count" -le $KINDS ] || fail "$NODE: said once for each kind" "$(log)"
	pass "$NODE: said once for each kind"
	same_snapshot "$NODE: Linux is as it was" "${BEFORE[$NODE]}"
	api "${REMEDIES[$NODE]}"
done
for NODE in $LAB_NODES; do
	within 20 "$NODE: ready when it is mended" is_applied
	says "$NODE: the log says that it works again" 'API server works again'
	has "$NODE: its Service is there" "$(on ipvsadm -Ln)" 'TCP +10.96.1.1:80 '
	stop
	routelet cleanup >/dev/null || fail "$NODE: clean-up" "$(routelet cleanup 2>&1)"
	same_snapshot "$NODE: a clean node in the end" "${BEFORE[$NODE]}"
done
