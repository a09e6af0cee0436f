#!/usr/bin/env bash
# A cluster in a folder of YAML: no API server anywhere, real traffic all the same.
. "$(dirname "$0")/lib.sh"
before=$(snapshot)
CLUSTER=$WORK/cluster
mkdir "$CLUSTER"
cp "$HERE/services.yaml" "$CLUSTER/services.yaml"
cp "$HERE/cluster.yaml" "$CLUSTER/pods.yaml"

served() { # served DESCRIPTION ADDRESS PORT WANTED: who answers the client's pod, four times asked
	expect "$1" "$(probe_all pod-default-client TCP 4 "$2" "$3")" "$4"
}
BOTH="2 default/web-1
2 default/web-2"
destinations() { ipvs_service one "$1" | sed -n '2,$s/ .*//p' | tr '\n' ' '; }
goes_to() { [ "$(destinations "$1")" = "$2" ]; }

# A plan without an agent.
routelet plan --manifests "$CLUSTER" --hostname-override=one --run-router=false >"$LAB_OUT/plan" 2>"$WORK/err"
expect "plan finds something to do" $? 2
expect "plan has nothing to complain of" "$(cat "$WORK/err")" ""
has "plan prints the link" "$(cat "$LAB_OUT/plan")" '^\+ link kube-dummy-if'
has "plan prints a destination from a selector and a named port" "$(cat "$LAB_OUT/plan")" '^\+ .*10.96.1.2:81 .*10.244.1.6:8080'
has "plan counts" "$(tail -n 1 "$LAB_OUT/plan")" '^[0-9]+ to create, 0 to update, 0 to delete$'
same_snapshot "plan changed nothing" "$before"

# The agent, started with a relative path, as people do.
# shellcheck disable=SC2086
(cd "$WORK" && exec $LAB exec node-one "$LAB_ROUTELET" --hostname-override=one $FLAGS --manifests cluster) >"$LAB_OUT/one.log" 2>&1 &
AGENTS[one]=$!
within 20 "the agent is ready" is_applied
served "a Service reaches its pods" 10.96.1.1 80 "$BOTH"
expect "the node reaches them by the NodePort" "$(probe_all node-one TCP 4 192.168.50.11 30081)" "$BOTH"
cd / && routelet plan
expect "plan with the agent's folder finds nothing, wherever it is asked" $? 0
cd "$HERE" || exit 1
has "status names the folder" "$(routelet status)" "^source +$CLUSTER: connected"

# Files come, change and go.
cat >"$CLUSTER/more.yaml" <<'YAML'
# A comment, and two documents.
apiVersion: v1
kind: Service
metadata: { name: more, namespace: default }
spec: { clusterIP: 10.96.1.3, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: default }
YAML
within 5 "a file that is added takes effect" goes_to "TCP 10.96.1.3:80" "10.244.1.5:8080 10.244.1.6:8080 "
served "what was added is served" 10.96.1.3 80 "$BOTH"
says "a kind that nobody reads is told of" 'INFO +Object of a kind that no plugin reads is ignored .*file=more.yaml line=7 kind="apps/v1 Deployment"'
sed 's/name: web-2, namespace: default, labels: { app: web }/name: web-2, namespace: default, labels: { app: other }/' "$HERE/cluster.yaml" >"$CLUSTER/.new"
mv "$CLUSTER/.new" "$CLUSTER/pods.yaml"
within 5 "a file that is replaced takes effect" goes_to "TCP 10.96.1.1:80" "10.244.1.5:8080 "
served "a pod without the label is not asked" 10.96.1.1 80 "4 default/web-1"
cp "$HERE/cluster.yaml" "$CLUSTER/pods.yaml"
within 5 "a file that is written over takes effect" goes_to "TCP 10.96.1.1:80" "10.244.1.5:8080 10.244.1.6:8080 "

# A file that is broken. Moved into place: one that is read while it is empty has lost its objects.
sed '3s/.*/metadata: { name: web, namespace: default/' "$HERE/services.yaml" >"$CLUSTER/.new"
mv "$CLUSTER/.new" "$CLUSTER/services.yaml"
says "a broken file is told of with line and reason" 'WARN +Manifest cannot be read: the last good state of its objects stays .*file=services.yaml line=[34] reason='
has "the status says it" "$(routelet status)" 'services.yaml:[34]: '
served "its objects stay" 10.96.1.1 80 "$BOTH"
is_ready || fail "the agent stays ready" "$(ask_health readyz)"
routelet plan >"$WORK/plan" 2>&1
has "plan says it too" "$(cat "$WORK/plan")" 'file=services.yaml line=[34] reason='
sed -i 's/name: more/name: most/' "$CLUSTER/more.yaml"
within 5 "other files still take effect" sh -c "$LAB exec node-one $LAB_ROUTELET status --output json | jq -e '.source.kinds[] | select(.kind == \"services\") | .objects == 3'"
cp "$HERE/services.yaml" "$CLUSTER/services.yaml"
says "a file that is in order again is told of" 'INFO +Manifest is in order again .*file=services.yaml'
expect "a broken file is told of once" "$(log | grep -c 'Manifest cannot be read')" 1

# An object that is wrong in a file that is not.
sed 's/port: 81/port: eighty/' "$HERE/services.yaml" >"$CLUSTER/.new"
mv "$CLUSTER/.new" "$CLUSTER/services.yaml"
says "a wrong object is told of with line and field" 'WARN +Object in a manifest is refused: its last good state stays .*file=services.yaml line=6 object="Service "default/other"" reason=.*port'
expect "its last good state stays" "$(destinations 'TCP 10.96.1.2:81')" "10.244.1.5:8080 10.244.1.6:8080 "
cp "$HERE/services.yaml" "$CLUSTER/services.yaml"
cp "$HERE/services.yaml" "$CLUSTER/zz-copy.yaml"
says "an object that is there twice is told of" 'WARN +Object is in the manifests twice: the first is taken .*file=zz-copy.yaml line=1 object="services default/web" first=services.yaml:1'
rm "$CLUSTER/zz-copy.yaml"

# A file that is broken when the agent starts: what an earlier run made of it stays, all else is served and changed.
stop
rm "$CLUSTER/more.yaml"
sed '3s/.*/metadata: { name: web, namespace: default/' "$HERE/services.yaml" >"$CLUSTER/services.yaml"
cp "$HERE/services.yaml" "$CLUSTER/new.yaml" && sed -i 's/name: web,/name: fresh,/; s/name: other,/name: fresh-too,/; s/10.96.1.1/10.96.1.5/; s/10.96.1.2/10.96.1.6/; /nodePort/s/, nodePort: 30081//' "$CLUSTER/new.yaml"
agent --manifests "$CLUSTER"
within 10 "what is in order is served" goes_to "TCP 10.96.1.5:80" "10.244.1.5:8080 10.244.1.6:8080 "
served "and so is what an earlier run made of the broken file" 10.96.1.1 80 "$BOTH"
expect "what it made of a file that is gone stays meanwhile" "$(destinations 'TCP 10.96.1.3:80')" "10.244.1.5:8080 10.244.1.6:8080 "
has "the node is not ready" "$(ask_health readyz)" '^- services.yaml:[34]: .*; it was never read since the start, and what an earlier run made of it stays in Linux$'
rm "$CLUSTER/new.yaml"
within 5 "what this run made goes as ever" goes_to "TCP 10.96.1.5:80" ""
expect "plan agrees" "$(routelet plan 2>/dev/null)" ""
cp "$HERE/services.yaml" "$CLUSTER/services.yaml"
within 5 "when the file is in order what nobody wants goes" goes_to "TCP 10.96.1.3:80" ""
served "and its own objects are served" 10.96.1.1 80 "$BOTH"
within 5 "and the node is ready" is_ready
cat >"$CLUSTER/more.yaml" <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: more, namespace: default }
spec: { clusterIP: 10.96.1.3, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
YAML
within 5 "and files come as before" goes_to "TCP 10.96.1.3:80" "10.244.1.5:8080 10.244.1.6:8080 "

# Files go, and the folder itself.
rm "$CLUSTER/more.yaml"
within 5 "a file that is removed takes its objects along" goes_to "TCP 10.96.1.3:80" ""
with=$(snapshot)
mv "$CLUSTER" "$WORK/away"
says "a folder that is gone is told of" 'WARN +Manifests cannot be read: what was read stays'
same_snapshot "what was in it stays" "$with"
mv "$WORK/away" "$CLUSTER"
says "a folder that is back is told of" 'INFO +Manifests can be read again'
cp "$CLUSTER/services.yaml" "$CLUSTER/.x" && sed -i 's/10.96.1.1/10.96.1.9/' "$CLUSTER/services.yaml"
within 8 "and is read as before" goes_to "TCP 10.96.1.9:80" "10.244.1.5:8080 10.244.1.6:8080 "

# What the folder may say that is derived otherwise: the Node, and the slices.
cat >"$CLUSTER/node.json" <<'JSON'
{ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "one" }, "spec": { "podCIDRs": ["10.244.1.0/24"] },
  "status": { "addresses": [{ "type": "InternalIP", "address": "192.168.50.11" }] } }
JSON
within 5 "a Node that is given counts" sh -c "$LAB exec node-one iptables-save | grep -q -- '-s 10.244.1.0/24 .*-j RETURN'"
cat >"$CLUSTER/slice.yaml" <<'YAML'
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: other-1, namespace: default, labels: { kubernetes.io/service-name: other } }
addressType: IPv4
ports: [{ port: 8080, protocol: TCP }]
endpoints: [{ addresses: [10.244.1.6] }]
YAML
within 5 "a slice that is given counts in place of derived ones" goes_to "TCP 10.96.1.2:81" "10.244.1.6:8080 "
with=$(snapshot)
stop
same_snapshot "the agent leaves its work in place" "$with"
routelet cleanup >/dev/null || fail "clean-up" "$(routelet cleanup 2>&1)"
same_snapshot "clean-up leaves a clean node" "$before"

# The README's own folder of YAML, as it is printed there, in the network namespace that it makes.
README=$HERE/../../../README.md
section() { awk -v fence="$1" '/^## /{ here = /A cluster in a folder of YAML/ } /^```/{ open = !open; code = open && here && $0 == fence; next } code' "$README"; }
section '```sh' | sed "/^make build$/d; s#dist/routelet-linux-x64#$LAB_ROUTELET#" >"$WORK/readme.sh"
bash -m "$WORK/readme.sh" >"$LAB_OUT/readme" 2>&1
expect "the README's commands end well" $? 0
expect "and print its excerpt of the plan" "$(section '```' | grep -v '^…$' | grep -vxFf "$LAB_OUT/readme")" ""
has "and the Service answers" "$(cat "$LAB_OUT/readme")" '^metadata: \{ name: web \}$'
has "and nothing is left" "$(cat "$LAB_OUT/readme")" '^[0-9]+ removed, nothing of ours is left$'
expect "not even its namespace and folder" "$(ip netns list | grep -w try; ls -d /tmp/try 2>/dev/null)" ""
