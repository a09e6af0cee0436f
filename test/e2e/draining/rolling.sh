#!/usr/bin/env bash
# A rolling update of ten pods under 200 requests a second, the agent killed and started again in the middle: no request fails.
. "$(dirname "$0")/lib.sh"

service
for i in 1 2 3 4 5 6 7 8 9 10; do pod $i; done | $LAB apply -
settle

requests() { # requests NAME NETNS ADDRESS PORT: 100 a second until the file "enough" is there; each a new connection
  python3 - "$LAB_OUT" "$@" <<'PYTHON' &
import ctypes, os, socket, sys, threading, time
out, name, netns, address, port = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
for folder in ("/run/netns", "/var/run/netns"):
    if os.path.exists(f"{folder}/{netns}"):
        if libc.setns(os.open(f"{folder}/{netns}", os.O_RDONLY), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        break
lock, sent, errors, pods = threading.Lock(), 0, [], set()
begin = time.monotonic()
def ask(worker):
    global sent
    at = begin + worker * 0.01
    while not os.path.exists(f"{out}/enough"):
        # Late requests are made up for: the rate holds.
        time.sleep(max(0, at - time.monotonic()))
        at += 0.1
        asked = time.monotonic()
        try:
            with socket.create_connection((address, int(port)), 5) as s:
                s.sendall(b"?\n")
                answer = s.recv(200)
                if not answer.startswith(b"default/web-"):
                    raise OSError(f"wrong answer {answer}")
            with lock:
                sent += 1
                pods.add(answer.split()[0])
                if sent == 100:
                    open(f"{out}/{name}.started", "w").close()
        except OSError as error:
            with lock:
                sent += 1
                errors.append(f"{asked - begin:.2f}s {error}")
workers = [threading.Thread(target=ask, args=(i,)) for i in range(10)]
for each in workers: each.start()
for each in workers: each.join()
seconds = time.monotonic() - begin
with open(f"{out}/{name}.requests", "w") as f:
    f.write(f"{sent} {len(errors)} {sent / seconds:.0f} {len(pods)} {errors[:3]}\n")
PYTHON
}
requests inside pod-default-client $VIP4 80
first=$!
requests outside client-outside 192.168.50.11 30080
second=$!

for client in inside outside; do
  within 60 "$client asks" test -e "$LAB_OUT/$client.started"
done
for i in 1 2 3 4 5 6 7 8 9 10; do
  # Ready is who listens: the lab's endpoints do not wait for it.
  pod $((i + 10)) False | $LAB apply -
  pod $((i + 10)) | $LAB apply -
  # While no agent runs the endpoint comes to terminate; it serves on until the new agent has taken note.
  [ $i != 5 ] || $LAB agent kill one
  pod $i True "$TERMINATING" | $LAB apply -
  [ $i != 5 ] || $LAB agent start one
  settle
  sleep 0.5
  pod $i | $LAB delete -
done
# Killed with destinations that drain.
$LAB agent kill one
$LAB agent start one
settle
sleep 1
touch "$LAB_OUT/enough"
wait $first $second

for client in inside outside; do
  read -r sent failed rate pods errors <"$LAB_OUT/$client.requests"
  [ "$failed" = 0 ] || fail "no request fails ($client)" "$failed of $sent: $errors"
  [ "$sent" -gt 500 ] || fail "$client sends requests" "$sent"
  expect "$client met all twenty pods" "$pods" 20
  pass "no request of $sent fails, $rate a second ($client)"
done
plan_is_empty "the plan is empty while destinations drain"
