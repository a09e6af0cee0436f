#!/usr/bin/env bash
# The scheduler annotation changes the IPVS service in place; established connections go on.
. "$(dirname "$0")/lib.sh"

scheduler() { # scheduler NAME
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata:
  name: whats-my-ip
  namespace: default
  annotations: { kube-router.io/service.scheduler: $1 }
spec:
  clusterIP: $VIP
  selector: { app: whats-my-ip }
  ports: [{ port: 8080, targetPort: 8080 }]
YAML
  settle
}

rm -f "$LAB_OUT/connected" "$LAB_OUT/changed"
# A connection that is established before all changes and is asked after them. The pod answers at the first bytes.
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
s = socket.create_connection(("10.254.175.147", 8080), 5)
open(f"{out}/connected", "w").close()
while not os.path.exists(f"{out}/changed"):
    time.sleep(0.05)
s.settimeout(5)
s.sendall(b"?\n")
open(f"{out}/answer", "w").write(s.recv(200).decode())
PYTHON
keeper=$!
for _ in $(seq 100); do [ -e "$LAB_OUT/connected" ] && break; sleep 0.1; done
[ -e "$LAB_OUT/connected" ] || fail "a connection is established before the changes" ""

for name in lc sh dh rr; do
  scheduler $name
  for node in node1 node2 node3; do
    expect_line "$node schedules by $name" "$(ipvs $node)" "TCP $VIP:8080 $name"
  done
  answers=$(ask pod-default-client $VIP 8080 3 | awk '{ print $1 }' | sort -u)
  expect "requests are answered under $name" "$answers" "ok"
done
touch "$LAB_OUT/changed"
wait $keeper || fail "the established connection goes on" ""
grep -q '^default/whats-my-ip-' "$LAB_OUT/answer" || fail "the established connection is answered" "$(cat "$LAB_OUT/answer")"
pass "the established connection went on through every change"

scheduler fastest
expect_line "a scheduler that does not exist leaves round robin" "$(ipvs node1)" "TCP $VIP:8080 rr"
status=$($LAB run node1 -- status)
grep -q 'fastest' <<<"$status" || fail "the status names the annotation's value" "$status"
pass "the status names the annotation's value"
