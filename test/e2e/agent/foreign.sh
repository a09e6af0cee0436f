#!/usr/bin/env bash
# What others own is never touched: not by a sync, not by a conflict, not by cleanup.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-one "$@"; }

# Others' things, of every kind that the agent programs, some of them where the agent wants its own.
$LAB agent stop one
on ipvsadm -A -t 203.0.113.1:80 -s wrr
on ipvsadm -a -t 203.0.113.1:80 -r 203.0.113.9:80 -g -w 7
on ipvsadm -A -t 10.96.7.7:80 -s lc
on ipvsadm -a -t 10.96.7.7:80 -r 10.244.1.5:8080 -m -w 3
on ip link add other type dummy
on ip link set other up
on ip addr add 203.0.113.50/32 dev other
on ip route add 203.0.113.64/26 dev other proto static
on ip rule add from 203.0.113.0/24 lookup 500 priority 5000
on iptables -t nat -A POSTROUTING -s 203.0.113.0/24 -m comment --comment "somebody else's" -j MASQUERADE
on iptables -N OTHERS
on ip6tables -t nat -A POSTROUTING -s 2001:db8::/32 -j MASQUERADE
others() {
  on sh -c 'ipvsadm -Sn | grep -E "203.0.113.1:80|10.96.7.7:80" | sort; ip addr show dev other | grep inet; ip route show dev other
    ip rule show priority 5000; iptables-save | grep -E "somebody|OTHERS" | sed "s/\[[0-9:]*\]//"; ip6tables-save | grep 2001:db8'
}
before=$(others)
$LAB agent start one

$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: taken, namespace: default }
spec:
  clusterIP: 10.96.7.7
  selector: { app: web }
  ports: [{ port: 80, targetPort: 8080 }]
YAML
settle
expect "others' state is the same after a sync" "$(others)" "$before"
$LAB run one -- status >"$LAB_OUT/status"
grep -q 'conflict.*10.96.7.7:80' "$LAB_OUT/status" || fail "the status names the conflict" "$(cat "$LAB_OUT/status")"
pass "the status names the conflict"
expect "the conflict costs only itself" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "2 default/web-1
2 default/web-2"

on ipvsadm -D -t 10.96.7.7:80
$LAB agent restart one
settle
expect "once the other is gone the Service is served" "$(ipvs_service one 'TCP 10.96.7.7:80' | head -n 1)" "TCP 10.96.7.7:80 rr"
before=$(others | grep -v 10.96.7.7)

refused=$($LAB run one -- cleanup 2>&1) && fail "cleanup refuses while an agent runs" "$refused"
grep -q 'agent runs' <<<"$refused" || fail "cleanup says that an agent runs" "$refused"
pass "cleanup refuses while an agent runs"
$LAB agent stop one
[ -n "$(on ipvsadm -Sn | grep 10.96.1.1)" ] || fail "a stop leaves IPVS in place" ""
pass "a stop leaves IPVS in place"
expect "and traffic goes on" "$(probe_all pod-default-client TCP 4 10.96.1.1 80)" "2 default/web-1
2 default/web-2"

out=$($LAB run one -- cleanup 2>&1) || fail "cleanup succeeds" "$out"
grep -q 'nothing of ours is left' <<<"$out" || fail "cleanup says that nothing is left" "$out"
expect "others' state is the same after cleanup" "$(others)" "$before"
expect "no VIP link is left" "$(on ip -o link show type dummy | grep -c kube-dummy-if)" "0"
expect "only others' IPVS services are left" "$(on ipvsadm -Sn | grep -c -- '^-A')" "1"
expect "no rule of ours is left" "$(on sh -c 'iptables-save; ip6tables-save' | grep -ciE 'kube|routelet')" "0"
out=$($LAB run one -- --cleanup-config 2>&1)
expect "a second cleanup, by the old flag, finds nothing" "$out" "0 removed, nothing of ours is left"
