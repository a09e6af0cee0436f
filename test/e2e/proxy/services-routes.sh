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

# S21: a range that is added while the agent runs (KEP-1880), one that overlaps with external IPs, and their end.
range() { # range NAME METADATA CIDR…
  local name=$1 more=$2
  shift 2
  $LAB apply - <<YAML
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: { name: $name$more }
spec: { cidrs: [$(printf '"%s",' "$@")] }
YAML
  settle
}
bound() { $LAB exec node-one sh -c 'ip route show table local proto 201; ip -6 route show table local proto 201' | grep -cE '10\.200\.0\.0/24|fd00:200::/112'; }
add_service
ADDED="10.200.0.1/32
fd00:200::1/128"
expect "S21: a cluster IP of no known range is an address" "$(vips one)" "$ADDED"
range added "" 10.200.0.0/24 fd00:200::/112
expect "S21: one route for each range that was added" "$(bound)" "2"
expect "S21: and no address" "$(vips one)" ""
for vip in 10.200.0.1 fd00:200::1; do
  for from in pod-default-client node-one; do reached "S21: $from reaches $vip" $from TCP $vip 80 "$BOTH"; done
done
for vip in 10.200.0.77 fd00:200::77; do
  expect "S21: an address that nobody has is refused, $vip" "$(probe_all pod-default-client TCP 1 $vip 80)" "1 refused"
done
range overlap "" 203.0.113.0/28 fd00:203::/123
problem "S21: an external IP in a ServiceCIDR is refused by name" '203\.0\.113\.10.*is inside .*a ServiceCIDR'
for vip in 203.0.113.10 fd00:203::10; do
  reached "S21: and served no more where it may not be, $vip" client-outside TCP $vip 80 "4 refused"
done
$LAB delete - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: { name: overlap }
YAML
settle
reached "S21: until the object is gone" client-outside TCP 203.0.113.10 80 "$BOTH"
range added ', deletionTimestamp: "2030-01-01T00:00:00Z", finalizers: [networking.k8s.io/service-cidr-finalizer]' 10.200.0.0/24 fd00:200::/112
expect "S21: a range that is being deleted counts until its finalizer is gone" "$(bound)" "2"
$LAB delete - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: { name: added }
YAML
settle
expect "S21: a range that is gone is no route" "$(bound)" "0"
expect "S21: what is left in it is an address again" "$(vips one)" "$ADDED"
for vip in 10.200.0.1 fd00:200::1; do reached "S21: and is served, $vip" pod-default-client TCP $vip 80 "$BOTH"; done
$LAB delete - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: added, namespace: default }
YAML
settle
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
