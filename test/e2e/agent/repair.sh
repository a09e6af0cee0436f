#!/usr/bin/env bash
# After a sync nothing is planned; what is deleted by hand comes back within a second, and the log says so.
. "$(dirname "$0")/lib.sh"

plan=$($LAB run one -- plan 2>&1)
expect "plan right after a sync exits 0" "$? $plan" "0 "
before=$(snapshot)
same() { [ "$(snapshot)" = "$before" ]; }

repaired() { # repaired DESCRIPTION LOG-TEXT COMMAND…: a second is meant; a busy machine gets more, and the time is printed
  local description=$1 text=$2
  shift 2
  "$@" || fail "$description can be broken" "$*"
  within 10 "$description is repaired" same
  $LAB agent logs one | grep 'Repaired Linux' | grep -qF -- "$text" || fail "the log says that $description was repaired" "$($LAB agent logs one | tail -n 20)"
  pass "the log says that $description was repaired"
}

on() { $LAB exec node-one "$@"; }

repaired "an IPVS destination" "tcp 10.96.1.1:80 -> 10.244.2.5:8080" on ipvsadm -d -t 10.96.1.1:80 -r 10.244.2.5:8080
repaired "an IPv6 IPVS destination" "tcp [fd00:96::1]:80 -> [fd00:244:2::5]:8080" on ipvsadm -d -t [fd00:96::1]:80 -r [fd00:244:2::5]:8080
repaired "a destination's weight" "-> 10.244.1.5:8080 masq weight 1" on ipvsadm -e -t 10.96.1.1:80 -r 10.244.1.5:8080 -m -w 0
repaired "an IPVS service" "ipvs service udp 10.96.1.1:53" on ipvsadm -D -u 10.96.1.1:53
repaired "a VIP" "address 10.96.1.1/32 dev kube-dummy-if" on ip addr del 10.96.1.1/32 dev kube-dummy-if
repaired "an IPv6 VIP" "address fd00:96::1/128 dev kube-dummy-if" on ip addr del fd00:96::1/128 dev kube-dummy-if
repaired "a VIP's route" "route local 10.96.1.1/32" on ip route del local 10.96.1.1 table local
repaired "an IPv6 VIP's route" "route local fd00:96::1/128" on ip -6 route del local fd00:96::1 table local
repaired "the link down" "link kube-dummy-if" on ip link set kube-dummy-if down
repaired "the link gone" "link kube-dummy-if" on ip link del kube-dummy-if
conntrack_is() { [ "$(on sysctl -n net.ipv4.vs.conntrack)" = "$1" ]; }
on sysctl -qw net.ipv4.vs.conntrack=0
within 10 "a sysctl is repaired" conntrack_is 1
within 2 "the log says that a sysctl was repaired" sh -c "$LAB agent logs one | grep -q 'Repaired Linux .*sysctl net/ipv4/vs/conntrack = 1'"
for family in TCP:80 UDP:53; do
  expect "${family%:*} still answers on IPv4" "$(probe_all pod-default-client ${family%:*} 4 10.96.1.1 ${family#*:})" "2 default/web-1
2 default/web-2"
  expect "${family%:*} still answers on IPv6" "$(probe_all pod-default-client ${family%:*} 4 fd00:96::1 ${family#*:})" "2 default/web-1
2 default/web-2"
done

# What the agent does not want, it reports in a plan and removes nothing of others.
$LAB agent stop one
on ipvsadm -d -t 10.96.1.1:80 -r 10.244.2.5:8080
on ipvsadm -A -t 203.0.113.1:80 -s wrr
FLAGS="--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112 --enable-ipv6 --run-router=false --run-firewall=false"
plan=$($LAB run one -- plan $FLAGS)
expect "plan exits 2 when there is something to change" "$?" "2"
expect "plan prints exactly that, below the Service that asks for it" "$plan" "# proxy: service default/web
+ ipvs destination tcp 10.96.1.1:80 -> 10.244.2.5:8080 masq weight 1
1 to create, 0 to update, 0 to delete"
expect "plan in JSON names the item" \
  "$($LAB run one -- plan $FLAGS --output json | jq -r '.changes[] | .verb + " " + .kind + " " + .key')" \
  "create ipvs.destination tcp 10.96.1.1:80 -> 10.244.2.5:8080"
