#!/usr/bin/env bash
# What a kube-router of before left is taken over in place; and what we leave, kube-router's own commands can go on with.
. "$(dirname "$0")/lib.sh"

$LAB agent stop one
$LAB run one -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
# As kube-router 2.11 makes them.
for family in "" inet6:; do
  v6=${family:+family inet6}
  on ipset create ${family}kube-router-local-ips hash:ip timeout 0 $v6
  on ipset create ${family}kube-router-svip hash:ip timeout 0 $v6
  on ipset create ${family}kube-router-svip-prt hash:ip,port timeout 0 $v6
done
on ipset add kube-router-local-ips 192.168.50.11 timeout 0
on ipset add kube-router-svip 10.96.77.77 timeout 0
on ipset add kube-router-svip-prt 10.96.77.77,tcp:80 timeout 0
on iptables -N KUBE-ROUTER-SERVICES
on iptables -A KUBE-ROUTER-SERVICES -m comment --comment "allow input traffic to ipvs services" -m set --match-set kube-router-svip-prt dst,dst -j ACCEPT
on iptables -A KUBE-ROUTER-SERVICES -m comment --comment "reject all unexpected traffic to service IPs" -m set ! --match-set kube-router-local-ips dst -j REJECT --reject-with icmp-port-unreachable
on iptables -I INPUT 1 -m comment --comment "handle traffic to IPVS service IPs in custom chain" -m set --match-set kube-router-svip dst -j KUBE-ROUTER-SERVICES

$LAB agent start one
settle
expect "the set is kube-router's, with our members" "$(members kube-router-svip)" "10.96.1.1
192.168.50.11"
expect "there is one jump" "$(on iptables-save | grep -c -- '-A INPUT .*-j KUBE-ROUTER-SERVICES')" "1"
expect "it is ours" "$(on iptables-save | grep -c -- '-A INPUT .*routelet:proxy:.*-j KUBE-ROUTER-SERVICES')" "1"
expect "the Service answers" "$(results TCP 80 client-outside -- 10.96.1.1 | cut -d' ' -f3)" "ok"

# A set with other options keeps its members while it is exchanged.
$LAB agent stop one
on iptables -F KUBE-ROUTER-SERVICES
on iptables -F KUBE-ROUTER-SVC-VERDICT
on ipset destroy kube-router-svip-prt
on ipset create kube-router-svip-prt hash:ip,port maxelem 1000
on ipset add kube-router-svip-prt 10.96.1.1,tcp:80
on iptables -A KUBE-ROUTER-SERVICES -m set --match-set kube-router-svip-prt dst,dst -j ACCEPT
$LAB agent start one
settle
expect "a set of other options, in use, is exchanged" "$(on ipset list -t kube-router-svip-prt | grep -c 'maxelem 65536 timeout 0')" "1"
expect "with all its members" "$(members kube-router-svip-prt)" "10.96.1.1,tcp:80
10.96.1.1,udp:53
192.168.50.11,tcp:30080"
expect "nothing else is left of that" "$(on ipset list -n | grep -c -- -new)" "0"

# kube-router's refresh of its sets: it needs the very same options.
$LAB agent stop one
on sh -c 'ipset restore -exist <<RESTORE
create TMP-TF3INM4IEYGA443O hash:ip,port timeout 0
flush TMP-TF3INM4IEYGA443O
add TMP-TF3INM4IEYGA443O 10.96.1.1,tcp:80 timeout 0
create kube-router-svip-prt hash:ip,port timeout 0
swap TMP-TF3INM4IEYGA443O kube-router-svip-prt
flush TMP-TF3INM4IEYGA443O
destroy TMP-TF3INM4IEYGA443O
RESTORE' || fail "kube-router's refresh goes on with our set" "$(on ipset list -t)"
expect "kube-router's refresh goes on with our set" "$(members kube-router-svip-prt)" "10.96.1.1,tcp:80"
out=$($LAB run one -- cleanup 2>&1) || fail "cleanup" "$out"
expect "cleanup leaves no set and no chain" "$(on ipset list -n)$(on iptables-save | grep -c KUBE)" "0"
