#!/usr/bin/env bash
# seed-daemonset: the image's file system is node1's agent, as a pod with a service account; seed-agent: node3's is started by hand with
# --master=http://…:8080, node2's with a kubeconfig. ROOTFS is the image's file system.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec "node-$1" "${@:2}"; }
KUBECONFIG=/run/lab/nodes/node1/kubeconfig
ACCOUNT=/run/account
SERVER=$(sed -n 's/^ *server: "https:\/\/\(.*\)"$/\1/p' $KUBECONFIG)

mkdir -p $ACCOUNT
printf %s "$LAB_TOKEN" >$ACCOUNT/token
sed -n 's/^ *certificate-authority-data: //p' $KUBECONFIG | base64 -d >$ACCOUNT/ca.crt

# What a container engine does for a pod of the DaemonSet: the image as root, the mounts and the environment of the manifest.
cat >/run/pod <<POD
#!/bin/bash
set -eu
args=()
for word; do [[ \$word == --kubeconfig=* || \$word == --hostname-override=* ]] || args+=("\$word"); done
[ -n "\${POD:-}" ] || POD=1 exec unshare --mount --propagation private "\$0" "\${args[@]}"
export KUBERNETES_SERVICE_HOST=${SERVER%:*} KUBERNETES_SERVICE_PORT=${SERVER##*:} NODE_NAME=node1
cd "$ROOTFS"
mkdir -p run/routelet etc/cni/net.d var/lib/routelet run/secrets/kubernetes.io/serviceaccount lib/modules
for folder in /proc /sys /dev /run/routelet /etc/cni/net.d /var/lib/routelet; do mount --rbind \$folder .\$folder; done
[ ! -d /lib/modules ] || mount --rbind /lib/modules ./usr/lib/modules
mount --rbind $ACCOUNT ./run/secrets/kubernetes.io/serviceaccount
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ENV=/etc/routelet/shrc KUBERNETES_SERVICE_HOST=\$KUBERNETES_SERVICE_HOST \
  KUBERNETES_SERVICE_PORT=\$KUBERNETES_SERVICE_PORT NODE_NAME=\$NODE_NAME chroot . "\${IN_POD:-/usr/local/bin/routelet}" "\${args[@]}"
POD
chmod 755 /run/pod
in_pod() { on node1 env IN_POD="$1" /run/pod "${@:2}"; }

$LAB agent stop node1 node3
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
expect "the image's executable runs on the image's libraries" "$(in_pod /usr/local/bin/routelet version | cut -d' ' -f1,2)" "$("$LAB_ROUTELET" version | cut -d' ' -f1,2)"
in_pod /usr/local/bin/routelet install cni | grep -q '^wrote /etc/cni/net.d/10-kuberouter.conflist$' || fail "the first container brings the CNI configuration" ""
pass "the first container brings the CNI configuration"
$LAB agent executable node1 /run/pod
$LAB agent flags node1 -- --run-service-proxy --run-router --run-firewall
$LAB agent start node1

# The lab's own API without TLS and credentials, where nodes reach it.
GATEWAY=${SERVER%:*}
python3 - "$GATEWAY" "${LAB_API##*:}" <<'PY' &
import asyncio, sys
async def pipe(r, w):
    try:
        while data := await r.read(65536):
            w.write(data)
            await w.drain()
    finally:
        w.close()
async def serve(r, w):
    r2, w2 = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pipe(r, w2), pipe(r2, w), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, sys.argv[1], 8080)).serve_forever()
asyncio.run(main())
PY
trap 'kill %1' EXIT
cat >/run/by-hand <<HAND
#!/bin/bash
args=()
for word; do [[ \$word == --kubeconfig=* ]] || args+=("\$word"); done
exec "$LAB_ROUTELET" --master=http://$GATEWAY:8080 "\${args[@]}"
HAND
chmod 755 /run/by-hand
$LAB agent executable node3 /run/by-hand
$LAB agent start node3
settle

for node in node1 node2 node3; do
  expect_line "$node has the Service" "$(ipvs_service $node "TCP $VIP:8080")" "TCP $VIP:8080 rr"
  expect "$node: all pods answer" "$(ask "node-$node" $VIP 8080 3 | answered_by)" "$(all_three 1)"
done
source_of() { on "$1" curl -s --unix-socket /run/routelet/agent.sock http://agent/status | jq -r .source.from; }
expect "by the service account, the kubeconfig, and --master alone" "$(source_of node1 | sed 's/:.*//') $(source_of node2 | sed 's/:.*//') $(source_of node3)" "https https http://$GATEWAY:8080"
expect "its probes answer" "$(for path in livez readyz; do on node1 curl -s -o /dev/null -w '%{http_code} ' "http://192.168.123.250:20244/$path"; done)" "200 200 "
expect "its rules are written by the image's own tools" "$(in_pod /usr/sbin/iptables-nft-save | grep -c '^:KUBE-ROUTER-FORWARD')" "1"
banner=$(in_pod /bin/sh -i -c 'routelet status' 2>&1 </dev/null)
grep -q 'routelet .* on node1: ready' <<<"$banner" || fail "a shell in the pod has the status at hand" "$banner"
pass "a shell in the pod has the status at hand"

$LAB agent stop node1
out=$(in_pod /usr/local/bin/routelet uninstall --verify 2>&1) || fail "the cleanup overlay's container removes everything" "$out"
grep -q '^verified: nothing of ours is left' <<<"$out" || fail "with the proof" "$out"
pass "the cleanup overlay's container removes everything, with the proof"
expect "the CNI configuration too" "$(on node1 ls /etc/cni/net.d /var/lib/routelet | grep -c json)" "0"
