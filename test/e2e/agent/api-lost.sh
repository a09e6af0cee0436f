#!/usr/bin/env bash
# The API server is lost in every way there is: what is in Linux stays, and what changed meanwhile comes in afterwards.
. "$(dirname "$0")/lib.sh"
before=$(snapshot)

add() { # add N
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: late-$1, namespace: default }
spec:
  clusterIP: 10.96.3.$1
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
YAML
}

n=0
for mode in drop 410 429 500 stall half-open down; do
  n=$((n + 1))
  $LAB api fail $mode 2
  sleep 0.5
  add $n
  expect "$mode: traffic goes on" "$(probe_all pod-default-client TCP 2 10.96.1.1 80)" "1 default/web-1
1 default/web-2"
  $LAB wait 60 >/dev/null || fail "$mode: the agent catches up" "$($LAB agent logs one | tail -n 20)"
  expect "$mode: what was added meanwhile is served" "$(probe_all pod-default-client TCP 2 10.96.3.$n 80)" "1 default/web-1
1 default/web-2"
done

$LAB api fail down 3
$LAB agent kill one
expect "nothing changed while no agent ran" "$(snapshot | grep -v '10\.96\.3\.')" "$before"
$LAB agent start one
settle
expect "an agent that starts without an API server waits for it" "$(snapshot | grep -v '10\.96\.3\.')" "$before"

for i in $(seq 1 $n); do
  printf 'apiVersion: v1\nkind: Service\nmetadata: { name: late-%s, namespace: default }\n---\n' $i
done | $LAB delete -
settle
same_snapshot "deleted Services leave nothing behind" "$before"
