#!/usr/bin/env bash
# --masquerade-all: pods see the node's address; without it they see the client's wherever the answer comes back anyway.
. "$(dirname "$0")/lib.sh"

# whats-my-ip-2 is on node2, with the client: traffic through node2 to it keeps its source.
$LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: whats-my-ip, namespace: default }
spec:
  type: NodePort
  clusterIP: $VIP
  selector: { app: whats-my-ip }
  ports: [{ port: 8080, targetPort: 8080, nodePort: 34507 }]
YAML
settle
seen_by() { # seen_by POD FROM ADDRESS PORT: which client address this pod saw
  ask "$2" "$3" "$4" 9 | awk -v pod="default/$1" '$1 == "ok" && $2 == pod { print $4 }' | sort -u
}
expect "all pods see the pod that asks" "$(ask pod-default-client $VIP 8080 6 | seen_as)" "172.20.104.20"
expect "a pod of the node sees the client outside" "$(seen_by whats-my-ip-2 client-outside 192.168.123.248 34507)" "192.168.123.10"
expect "a pod of another node sees the node, which must have the answer" "$(seen_by whats-my-ip-1 client-outside 192.168.123.248 34507)" "192.168.123.248"

$LAB agent flags node2 -- --masquerade-all
$LAB agent restart node2
settle
expect "with --masquerade-all every pod sees the node, from a pod" "$(ask pod-default-client $VIP 8080 6 | seen_as)" "192.168.123.248"
expect "and all answer" "$(ask pod-default-client $VIP 8080 6 | answered_by)" "$(all_three 2)"
expect "from outside as well" "$(ask client-outside 192.168.123.248 34507 6 | seen_as)" "192.168.123.248"
expect "other nodes go by their own flags" "$(seen_by whats-my-ip-1 client-outside 192.168.123.250 34507)" "192.168.123.10"
expect "a pod that is called directly sees who calls" "$(ask pod-default-client 172.20.166.130 8080 1 | seen_as)" "172.20.104.20"

$LAB agent flags node2 --
$LAB agent restart node2
settle
expect "switched off again, they see the client" "$(ask pod-default-client $VIP 8080 6 | seen_as)" "172.20.104.20"
