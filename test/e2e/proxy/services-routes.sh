#!/usr/bin/env bash
# VIPs by one route a range serve as by addresses do; IPVS's time-outs come and go.
. "$(dirname "$0")/services-lib.sh"

# The same by routes: one a range, none for a range that holds what is not a VIP.
timeouts() { $LAB exec "node-$1" ipvsadm -Ln --timeout | sed 's/.*: *//'; }
before=$(timeouts one)
$LAB agent flags one -- --vip-binding=route --service-tcp-timeout=5m --service-udp-timeout=1500ms
$LAB agent restart one
settle
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
$LAB agent flags one -- --service-tcp-timeout=0s
$LAB agent restart one
settle
all_addresses "addresses again"
expect "time-outs that no flag sets come back" "$(timeouts one)" "$before"

$LAB agent flags one -- --service-tcp-timeout=5m --service-tcpfin-timeout=30s
$LAB agent restart one
expect "time-outs are set again" "$(timeouts one | awk '{ print $1, $2 }')" "300 30"
$LAB agent stop one
$LAB run one -- --cleanup-config >/dev/null
expect "cleanup gives back the time-outs" "$(timeouts one)" "$before"
expect "and leaves no service" "$(services one)" ""
