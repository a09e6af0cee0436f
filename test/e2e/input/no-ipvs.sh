#!/usr/bin/env bash
# A kernel without ip_vs: named with the remedy, unready, not asked in a loop, nothing half made.
. "$(dirname "$0")/lib.sh"
KUBECONFIG_OF_ONE=/run/lab/nodes/one/kubeconfig
REASON='Cannot use generic netlink family "IPVS": ENOSUPPORT \(this Linux does not have it\); load it on the host with "modprobe ip_vs" or use a kernel that has it'
before=$(snapshot)

agent --kubeconfig=$KUBECONFIG_OF_ONE -v=1
says "the log names ip_vs and what helps" "ERROR +Plugin degraded .*$REASON"
readyz=$(ask_health readyz)
has "unready" "$readyz" '^503$'
has "unready for that reason" "$readyz" "plugin proxy is degraded: $REASON"
has "alive" "$(ask_health livez)" '^200$'
status=$(routelet status) && fail "status exits with 1" "$status"
has "the status says it" "$status" "^  - plugin proxy is degraded: $REASON"
has "the API server is read all the same" "$status" '^  services +[1-9][0-9]* +synced'
said=$(routelet plan 2>&1)
expect "plan exits with 1" $? 1
has "plan says it" "$said" "^routelet: Cannot plan: $REASON"
sleep 4
expect "said once" "$(log | grep -c 'Plugin degraded')" 1
rounds=$(log | grep -c 'Round done')
[ "$rounds" -ge 2 ] && [ "$rounds" -le 12 ] || fail "tried again, ever more slowly" "$rounds rounds: $(log)"
pass "tried again, ever more slowly"
same_snapshot "nothing is half made" "$before"
expect "nothing is in the runtime folder but the socket" "$(on ls /run/routelet)" "agent.sock"
stop
expect "clean-up has nothing to do" "$(routelet cleanup)" "0 removed, nothing of ours is left"

# A folder of manifests on the same host.
mkdir "$WORK/cluster"
cp "$HERE/services.yaml" "$WORK/cluster"
said=$(routelet plan --manifests "$WORK/cluster" 2>&1)
expect "plan of a folder exits with 1" $? 1
has "plan of a folder says it" "$said" "^routelet: Cannot plan: $REASON"
