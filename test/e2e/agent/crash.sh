#!/usr/bin/env bash
# kill -9 at any point of a sync and a new start: the same end state, nothing of others touched, no request lost.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-one "$@"; }

# Enough Services that a sync takes a while to be killed in.
for i in $(seq 1 150); do
  cat <<YAML
apiVersion: v1
kind: Service
metadata: { name: many-$i, namespace: default }
spec:
  clusterIP: 10.96.2.$i
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
YAML
done | $LAB apply -
settle
want=$(snapshot)
on ipvsadm -A -t 203.0.113.1:80 -s wrr
on ip link add other type dummy
on ip addr add 203.0.113.50/32 dev other
with_others=$(snapshot)

rm -f "$LAB_OUT/enough"
# A client that asks all the time, with a new connection each; every answer counts.
python3 - "$LAB_OUT" <<'PYTHON' &
import ctypes, os, socket, sys, time
out = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
for folder in ("/run/netns", "/var/run/netns"):
    path = f"{folder}/pod-default-client"
    if os.path.exists(path):
        break
if libc.setns(os.open(path, os.O_RDONLY), 0x40000000) != 0:
    raise OSError(ctypes.get_errno(), "setns")
sent = lost = 0
errors = []
while not os.path.exists(f"{out}/enough"):
    sent += 1
    try:
        with socket.create_connection(("10.96.1.1", 80), 3) as s:
            s.sendall(b"?\n")
            if not s.recv(200).startswith(b"default/web-"):
                raise OSError("wrong answer")
    except OSError as error:
        lost += 1
        errors.append(str(error))
    time.sleep(0.02)
open(f"{out}/requests", "w").write(f"{sent} sent, {lost} lost {errors[:3]}")
PYTHON
asker=$!

# Killed while it works: a tenth of a second later each time, with a state that has to be made anew.
for tenth in 0 1 2 3 4 5 6 7 8 9; do
  $LAB agent kill one
  on sh -c '
    for i in $(seq 1 150); do echo "-D -t 10.96.2.$i:80"; done >/tmp/services; ipvsadm -R </tmp/services
    for i in $(seq 1 150); do echo "addr del 10.96.2.$i/32 dev kube-dummy-if"; done >/tmp/addresses
    ip -force -batch /tmp/addresses' >/dev/null 2>&1
  $LAB agent start one 2>/dev/null &
  starter=$!
  sleep "0.$tenth"
  $LAB agent kill one
  wait $starter
done
$LAB agent start one
settle
touch "$LAB_OUT/enough"
wait $asker || fail "the client ran" ""
same_snapshot "the end state is the same after ten kills" "$with_others"
requests=$(cat "$LAB_OUT/requests")
[[ $requests =~ ^[1-9][0-9]+\ sent,\ 0\ lost ]] || fail "no request is lost" "$requests"
pass "no request is lost: $requests"
expect "and nothing is planned" "$($LAB run one -- plan 2>&1)" ""
