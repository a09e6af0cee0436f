#!/bin/bash
# Traffic of pods to outside of the cluster has the node's address; within it, and with the flag off, the pod's.
. "$(dirname "$0")/lib.sh"

$LAB exec client-outside python3 - <<'PY' &
import socket, threading
def serve(family, address):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, 8080))
    s.listen()
    while True:
        c, peer = s.accept()
        c.sendall(peer[0].encode() + b"\n")
        c.close()
threading.Thread(target=serve, args=(socket.AF_INET, "10.1.0.99")).start()
serve(socket.AF_INET6, "fd00:1::99")
PY
server=$!
trap 'kill $server 2>/dev/null' EXIT
sleep 1
seen() { # seen POD ADDRESS: the source that the server saw
  $LAB exec "pod-default-$1" python3 -c "
import socket
s = socket.create_connection(('$2', 8080), 3)
print(s.recv(100).decode().strip())"
}

until_true "pods reach each other with their own addresses" pods_reach_each_other
expect "a pod leaves the cluster with the node's address" "$(seen p1 10.1.0.99)" 10.1.0.11
expect "in IPv6 too" "$(seen p1 fd00:1::99)" fd00:1::11
on n1 iptables-legacy -t nat -S POSTROUTING 2>/dev/null | grep -q RT-EGRESS || on n1 iptables -t nat -S POSTROUTING | grep -q RT-EGRESS ||
  fail "the rule is not where it belongs" ""
expect "what pods send to nodes keeps their address" \
  "$(on n2 sh -c 'ipset test kube-router-node-ips 10.1.0.11 2>&1' | grep -c 'is in set')" 1

# The rule comes back, and the set has its members.
on n1 ipset del kube-router-pod-subnets 10.244.1.0/24
restored() { on n1 ipset test kube-router-pod-subnets 10.244.1.7 2>&1 | grep -q 'is in set'; }
until_true "a member that somebody removed comes back" restored

for n in n1 n2 n3; do $LAB agent flags $n -- --enable-pod-egress=false; done
$LAB agent restart n1 n2 n3
$LAB exec client-outside ip route add 10.244.1.0/24 via 10.1.0.11
same() { [ "$(seen p1 10.1.0.99)" = 10.244.1.5 ]; }
until_true "with --enable-pod-egress=false it is the pod's" same

# Cleanup leaves nothing of ours.
$LAB agent stop n1
$LAB run n1 -- --cleanup-config >"$LAB_OUT/cleanup" 2>&1 || fail "cleanup failed" "$(cat "$LAB_OUT/cleanup")"
left=$(on n1 sh -c 'ip route show table all proto 202; ip -6 route show table all proto 202; ip rule | grep 77;
  ipset list -n; ip -o link show | grep -o "tun-[0-9a-f]*"; iptables-legacy-save 2>/dev/null | grep RT-; iptables-save 2>/dev/null | grep RT-')
expect "cleanup leaves nothing of ours" "$left" ""
has "but the bridge that was there" "$(on n1 ip -o link show kube-bridge)" kube-bridge
