#!/usr/bin/env bash
# VIPs by one route a range serve as by addresses do; IPVS's time-outs come and go.
. "$(dirname "$0")/services-lib.sh"

requests() { # requests NAME ADDRESS: a pod asks again and again, with a new connection each, until the file NAME.enough is there
  $LAB exec pod-default-client python3 - "$LAB_OUT/$1" "$2" <<'PYTHON' &
import os, socket, sys, time
name, address = sys.argv[1:]
sent, errors = 0, []
while not os.path.exists(f"{name}.enough"):
    sent += 1
    if sent == 10:
        open(f"{name}.started", "w").close()
    try:
        with socket.create_connection((address, 80), 0.8) as s:
            s.sendall(b"?\n")
            if not s.recv(200).startswith(b"default/"):
                raise OSError("wrong answer")
    except OSError as error:
        errors.append(str(error))
    time.sleep(0.01)
with open(f"{name}.requests", "w") as f:
    f.write(f"{len(errors)} of {sent} lost: {errors[:3]}\n")
PYTHON
}
all_served() { # all_served HOW: no request since the last call was lost
  touch "$LAB_OUT/four.enough" "$LAB_OUT/six.enough"
  wait $askers
  grep -q '^0 of [0-9][0-9]' "$LAB_OUT/four.requests" || fail "no IPv4 request is lost $1" "$(cat "$LAB_OUT/four.requests")"
  grep -q '^0 of [0-9][0-9]' "$LAB_OUT/six.requests" || fail "no IPv6 request is lost $1" "$(cat "$LAB_OUT/six.requests")"
  pass "no request is lost $1"
}
ask_on() {
  rm -f "$LAB_OUT"/{four,six}.{enough,started}
  requests four 10.96.1.1
  askers=$!
  requests six fd00:96::1
  askers="$askers $!"
  within 60 "a pod asks over IPv4" test -e "$LAB_OUT/four.started"
  within 60 "a pod asks over IPv6" test -e "$LAB_OUT/six.started"
}

# The same by routes: one a range, none for a range that holds what is not a VIP.
ask_on
timeouts() { $LAB exec "node-$1" ipvsadm -Ln --timeout | sed 's/.*: *//'; }
before=$(timeouts one)
$LAB agent flags one -- --vip-binding=route --service-tcp-timeout=5m --service-udp-timeout=1500ms
$LAB agent restart one
settle
all_served "while addresses become routes"
all_addresses "routes"
expect "routes: no VIP is an address" "$(vips one)" ""
expect "routes: one route a range" "$($LAB exec node-one sh -c 'ip route show table local proto 201; ip -6 route show table local proto 201' | awk '/^(local )?[0-9a-f.:]+\// && !/fe80/ { print ($1 == "local") ? $2 : $1 }' | sort)" "10.96.0.0/16
198.51.100.0/24
203.0.113.0/24
fd00:198::/112
fd00:203::/112
fd00:96::/112"
problem "routes: a range that holds nodes is not routed" '192\.168\.50\.0/24 is not bound as one route.*192\.168\.50\.11'
expect "time-outs are set, and the others left" "$(timeouts one)" "300 $(echo "$before" | awk '{ print $2 }') 2"
ask_on
$LAB agent flags one -- --service-tcp-timeout=0s
$LAB agent restart one
settle
all_served "while routes become addresses"
all_addresses "addresses again"
expect "time-outs that no flag sets come back" "$(timeouts one)" "$before"

$LAB agent flags one -- --service-tcp-timeout=5m --service-tcpfin-timeout=30s
$LAB agent restart one
expect "time-outs are set again" "$(timeouts one | awk '{ print $1, $2 }')" "300 30"
$LAB agent stop one
$LAB run one -- --cleanup-config >/dev/null
expect "cleanup gives back the time-outs" "$(timeouts one)" "$before"
expect "and leaves no service" "$(services one)" ""
