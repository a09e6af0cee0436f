#!/usr/bin/env bash
# The plugin plugins.d/hostport.ts: a pod's hostPort reaches it from anywhere, in both families, and goes with the pod.
. "$(dirname "$0")/../plugins/lib.sh"

pod() { # pod NAME CREATED HOSTIP NUMBER: a pod of node one with the host's port 8088 over TCP, UDP and SCTP
  cat <<Y
apiVersion: v1
kind: Pod
metadata: { name: $1, namespace: default, creationTimestamp: "$2" }
spec:
  nodeName: one
  containers:
    - name: web
      ports:
        - { containerPort: 8080, hostPort: 8088, hostIP: "$3" }
        - { containerPort: 5353, hostPort: 8088, hostIP: "$3", protocol: UDP }
        - { containerPort: 9090, hostPort: 8088, hostIP: "$3", protocol: SCTP }
status: { phase: Running, podIPs: [{ ip: 10.244.1.$4 }, { ip: "fd00:244:1::$4" }] }
Y
}
answers() { # answers FROM PROTOCOL ADDRESS: what says who answered, and whom it saw
  printf '{"from":"%s","to":"%s","port":8088,"protocol":"%s","timeoutMs":2000}\n' "$1" "$3" "$2" |
    $LAB probe | jq -r '.result + " " + (.answer // "")'
}
served_by() { [[ "$(answers client-outside "$2" "$3")" == "ok default/$1 "* ]]; }

$LAB agent flags one -- --plugins-dir=$PLUGINS
$LAB agent restart one
before=$(snapshot)
cp "$HERE/../../../plugins.d/hostport.ts" "$PLUGINS/hostport.ts" && chmod 644 "$PLUGINS/hostport.ts"
plugin_is hostport ready
pod first 2026-01-01T00:00:00Z "" 71 | $LAB apply -
within 20 "a pod's hostPort reaches it" served_by first TCP 192.168.50.11
for protocol in TCP UDP SCTP; do
  for address in 192.168.50.11 fd00:50::11; do
    has "$protocol to $address" "$(answers client-outside $protocol $address)" '^ok default/first '
  done
done
has "the pod sees the client's own address" "$(answers client-outside TCP 192.168.50.11)" ' 192.168.50.99$'
has "another node reaches it" "$(answers node-two TCP 192.168.50.11)" '^ok default/first '
has "so does another pod of the node" "$(answers pod-default-client TCP 192.168.50.11)" '^ok default/first '
has "and the node itself" "$(answers node-one TCP 192.168.50.11)" '^ok default/first '

# Two pods want one port: the older keeps it, whatever the order of their names.
pod and-second 2026-01-02T00:00:00Z "" 72 | $LAB apply -
conflicts() { $LAB run one -- status --output=json | jq -r '.plugins[] | select(.name == "hostport") | .problems[].reason'; }
within 20 "the second one's status says why" eval 'conflicts | grep -q "wanted by pod default/and-second as well, but held by pod default/first, which is older"'
has "the first one keeps it" "$(answers client-outside TCP 192.168.50.11)" '^ok default/first '
pod first 2026-01-01T00:00:00Z "" 71 | $LAB delete -
within 20 "when it goes the second one takes over" served_by and-second TCP 192.168.50.11
expect "and nothing is wrong any more" "$(conflicts)" ""

# One address alone.
pod and-second 2026-01-02T00:00:00Z 192.168.50.11 72 | $LAB apply -
closed() { [[ "$(answers client-outside TCP fd00:50::11)" != "ok "* ]]; }
within 20 "a hostIP leaves the others alone" closed
has "and has the port itself" "$(answers client-outside TCP 192.168.50.11)" '^ok default/and-second '

pod and-second 2026-01-02T00:00:00Z "" 72 | $LAB delete -
restored() { [ "$(snapshot)" = "$before" ]; }
within 20 "it goes with the pod" restored
rm $PLUGINS/hostport.ts

# The other way: the CNI's own portmap plugin, in the configuration list that the router fills in. The agent is no part of it, and
# lets it be.
list=/etc/cni/net.d/10-kuberouter.conflist
on() { $LAB exec node-one "$@"; }
on sh -c "mkdir -p /etc/cni/net.d; cat >$list" <<'CONF'
{"cniVersion": "0.4.0", "name": "mynet",
  "plugins": [
    {"name": "kubernetes", "type": "bridge", "bridge": "kube-bridge", "isDefaultGateway": true, "ipam": {"type": "host-local"}},
    {"type": "portmap", "capabilities": {"snat": true, "portMappings": true}}
  ]}
CONF
portmap=$(on sed -n '/portmap/p' $list)
$LAB agent flags one -- --plugins-dir=$PLUGINS --run-router --cluster-asn=64512
$LAB agent restart one
written() { on grep -q '10.244.1.0/24' $list; }
within 20 "the router writes the node's pod CIDR into the list" written
expect "and leaves portmap's part as it is" "$(on sed -n '/portmap/p' $list)" "$portmap"
pod third 2026-01-03T00:00:00Z "" 73 | $LAB apply -
within 10 "without our plugin and without portmap the port is closed" eval '! served_by third TCP 192.168.50.11'
cni() { # cni ADD|DEL: what a container runtime does with the second plugin of the list
  on jq -c '{ cniVersion, name } + .plugins[1] + {
      runtimeConfig: { portMappings: [{ hostPort: 8088, containerPort: 8080, protocol: "tcp" }] },
      prevResult: { cniVersion, interfaces: [{ name: "eth0", sandbox: "/pod" }], ips: [{ version: "4", interface: 0, address: "10.244.1.73/24" }] } }' $list |
    $LAB exec node-one env CNI_COMMAND=$1 CNI_CONTAINERID=third CNI_NETNS=/pod CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni /usr/lib/cni/portmap
}
cni ADD >"$WORK/cni" 2>&1 || fail "portmap takes its part of the list" "$(cat "$WORK/cni")"
within 10 "with portmap the pod's hostPort reaches it" served_by third TCP 192.168.50.11
rules() { on iptables-save -t nat | grep -E 'CNI-' | sed 's/\[[0-9:]*\]//'; }
others=$(rules)
$LAB agent restart one
$LAB wait 20 >/dev/null || fail "the agent did not settle" "$(status)"
expect "the agent leaves portmap's rules alone" "$(rules)" "$others"
has "and the port goes on" "$(answers client-outside TCP 192.168.50.11)" '^ok default/third '
has "so does a Service" "$(ask pod-default-client 10.96.1.1 80 1 | answered_by)" '^1 '
cni DEL >"$WORK/cni" 2>&1 || fail "portmap gives it up" "$(cat "$WORK/cni")"
within 10 "it goes with the pod" eval '! served_by third TCP 192.168.50.11'
