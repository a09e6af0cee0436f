#!/usr/bin/env bash
# No endpoints: refused at once. None on this node under a Local policy: dropped. Established connections are not judged.
. "$(dirname "$0")/lib.sh"

OUTSIDE="pod-default-client client-outside"
ALL="$OUTSIDE node-one"

service() { # service NAME NUMBER SELECTOR SPEC-LINE: a dual-stack Service with NodePort 30<NUMBER>
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: $1, namespace: default }
spec:
  type: NodePort
  clusterIPs: [10.96.2.$2, "fd00:96::2:$2"]
  selector: { app: $3 }
  $4
  ports:
    - { name: http, port: 80, targetPort: 8080, nodePort: 30$2 }
    - { name: dns, protocol: UDP, port: 53, targetPort: 5353, nodePort: 30$2 }
    - { name: sctp, protocol: SCTP, port: 80, nodePort: 30$2 }
YAML
  settle
}
connect() { # connect PORT ADDRESS…: what a blocking connect of node one's says, "ADDRESS refused" when at once
  on python3 - "$@" <<'PYTHON'
import socket, sys, time
for address in sys.argv[2:]:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    start = time.monotonic()
    try:
        s.connect((address, int(sys.argv[1])))
        said = "ok"
    except OSError as error:
        said = "refused" if isinstance(error, ConnectionRefusedError) else repr(error)
    print(address, said, *(["late"] if time.monotonic() - start > 0.5 else []))
PYTHON
}
vips() { echo "10.96.2.$1 fd00:96::2:$1"; }
NODE="192.168.50.11 fd00:50::11"

# A program of the host on the ports: what has no endpoints must not end there.
listen 80 30201 30202 30203

service empty 201 nobody ""
expect "no endpoints: TCP is reset at once at the cluster IPs" "$(results TCP 80 $OUTSIDE -- $(vips 201))" "$(every refused $OUTSIDE -- $(vips 201))"
expect "and by the node itself" "$(results TCP 80 node-one -- $(vips 201))" "$(every refused node-one -- $(vips 201))"
expect "and by a program of the node that waits in connect" "$(connect 80 $(vips 201))" "10.96.2.201 refused
fd00:96::2:201 refused"
expect "TCP is reset at once at the NodePort" "$(results TCP 30201 $OUTSIDE -- $NODE)" "$(every refused $OUTSIDE -- $NODE)"
expect "UDP is refused at once" "$(results UDP 53 $ALL -- $(vips 201))" "$(every refused $ALL -- $(vips 201))"
expect "UDP is refused at once at the NodePort" "$(results UDP 30201 $OUTSIDE -- $NODE)" "$(every refused $OUTSIDE -- $NODE)"
# ENOPROTOOPT, which the probe calls an error: not a time-out.
expect "SCTP is refused at once over IPv4" "$(results SCTP 80 $OUTSIDE -- 10.96.2.201)" "$(every error $OUTSIDE -- 10.96.2.201)"
expect "SCTP is refused at once over IPv6" "$(results SCTP 80 $OUTSIDE -- fd00:96::2:201)" "$(every refused $OUTSIDE -- fd00:96::2:201)"
expect "and at the NodePort" "$(results SCTP 30201 $OUTSIDE -- fd00:50::11)" "$(every refused $OUTSIDE -- fd00:50::11)"
expect "SCTP of the node itself is refused at once" "$(results SCTP 80 node-one -- $(vips 201))" "$(every refused node-one -- $(vips 201))"
many=$(for i in $(seq 30); do echo '{"from":"client-outside","to":"10.96.2.201","port":80,"protocol":"TCP","timeoutMs":1500}'; done |
  $LAB probe | jq -r 'select(.ms < 500) | .result' | sort | uniq -c | tr -s ' ')
expect "thirty connections are all refused at once" "$many" " 30 refused"

service far 202 far "internalTrafficPolicy: Local
  externalTrafficPolicy: Local"
$LAB apply - <<'YAML'
apiVersion: v1
kind: Pod
metadata: { name: far, namespace: default, labels: { app: far } }
spec:
  nodeName: two
  containers: [{ name: web, ports: [{ containerPort: 8080 }, { containerPort: 5353, protocol: UDP }, { containerPort: 80, protocol: SCTP }] }]
status: { phase: Running, podIPs: [{ ip: 10.244.2.44 }, { ip: "fd00:244:2::44" }] }
YAML
settle
for protocol in TCP:80 UDP:53; do
  expect "Local without endpoints here: ${protocol%:*} is dropped" "$(results ${protocol%:*} ${protocol#*:} $OUTSIDE -- $(vips 202))" "$(every timeout $OUTSIDE -- $(vips 202))"
done
expect "and from the node itself" "$(results TCP 80 node-one -- $(vips 202))" "$(every timeout node-one -- $(vips 202))"
# S8: clients outside keep to this node's endpoints, those inside get all: pods of this node, and the node itself.
short_cut() { # short_cut HOW PORT
  local protocol
  for protocol in TCP UDP SCTP; do
    expect "$1: clients outside are dropped, $protocol" "$(results $protocol $2 client-outside -- $NODE)" "$(every timeout client-outside -- $NODE)"
    expect "$1: clients inside get all endpoints, $protocol" "$(results $protocol $2 $INSIDE -- $NODE)" "$(every 'ok default/far' $INSIDE -- $NODE)"
  done
}
INSIDE="pod-default-client node-one"
short_cut "at the NodePort" 30202
for to in $NODE; do
  expect "pods keep their address on the way, by $to" "$(ask pod-default-client $to 30202 2 | seen_as)" "$(case $to in *:*) echo fd00:244:1::20 ;; *) echo 10.244.1.20 ;; esac)"
done
expect "the sets say so" "$(members kube-router-svip-drop | grep -c 30202)" "3"

# The two policies are apart (kube-router once mixed them).
service inward 203 far "externalTrafficPolicy: Local"
expect "external Local: the cluster IP is served" "$(results TCP 80 $OUTSIDE -- $(vips 203))" "$(every 'ok default/far' $OUTSIDE -- $(vips 203))"
short_cut "external Local alone" 30203
plan=$($LAB run one -- plan 2>&1)
expect "nothing is planned" "$? $plan" "0 "

# An endpoint here ends it, and its leaving brings it back; a connection that stands goes on.
$LAB apply - <<'YAML'
apiVersion: v1
kind: Pod
metadata: { name: near, namespace: default, labels: { app: far } }
spec:
  nodeName: one
  containers: [{ name: web, ports: [{ containerPort: 8080 }, { containerPort: 5353, protocol: UDP }] }]
status: { phase: Running, podIPs: [{ ip: 10.244.1.44 }, { ip: "fd00:244:1::44" }] }
YAML
settle
expect "with an endpoint here it is served" "$(results TCP 80 $ALL -- $(vips 202))" "$(every 'ok default/near' $ALL -- $(vips 202))"
expect "at the NodePort too" "$(results TCP 30202 client-outside -- $NODE)" "$(every 'ok default/near' client-outside -- $NODE)"
for to in $NODE; do
  for from in $INSIDE; do
    expect "and $from gets both by $to" "$(probe_all $from TCP 4 $to 30202)" "2 default/far
2 default/near"
  done
done
expect "nothing is left in the set" "$(members kube-router-svip-drop | grep -c 10.96.2.202)" "0"
$LAB delete - <<'YAML'
apiVersion: v1
kind: Pod
metadata: { name: near, namespace: default }
YAML
settle
expect "when it leaves, connections are dropped again" "$(results TCP 80 client-outside -- $(vips 202))" "$(every timeout client-outside -- $(vips 202))"

# The verdicts do not hang on --ipvs-permit-all.
$LAB agent flags one -- --ipvs-permit-all=false
$LAB agent restart one
settle
expect "without --ipvs-permit-all no endpoints is refused at once" "$(results TCP 80 $OUTSIDE -- $(vips 201))" "$(every refused $OUTSIDE -- $(vips 201))"
expect "and none here is dropped" "$(results TCP 80 $ALL -- $(vips 202))" "$(every timeout $ALL -- $(vips 202))"
short_cut "without --ipvs-permit-all" 30202
