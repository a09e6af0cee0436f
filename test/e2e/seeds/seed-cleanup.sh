#!/usr/bin/env bash
# --cleanup-config: all that is ours is gone, what is others' stands, exit 0.
. "$(dirname "$0")/lib.sh"
on() { $LAB exec node-node1 "$@"; }

linux() { # linux: everything on node1 that the agent could have made or changed
  on sh -c '
    ipvsadm -Sn | sort
    ip -o link show | sed "s/^[0-9]*: //" | cut -d" " -f1 | sort
    ip -o addr show | awk "{ print \$2, \$4 }" | sort
    ip route show table all | sort; ip -6 route show table all | sort
    ip rule show; ip -6 rule show; ipset save | sort
    sysctl -a 2>/dev/null | grep -E "^net.(ipv4.vs|ipv4.ip_forward|ipv6.conf.all.forwarding|ipv4.conf.all.(arp|rp_filter)|bridge)" | sort
    cat /sys/class/net/kube-bridge/brif/*/hairpin_mode
    iptables-save | grep -v "^#" | sed "s/\[[0-9:]*\]//"; ip6tables-save | grep -v "^#" | sed "s/\[[0-9:]*\]//"' |
    grep -vE '^(\*|COMMIT|:(INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING) |-P )'
}

# Before: a node that the agent has never touched but for what it cannot undo, with others' things on it.
$LAB agent stop node1
$LAB run node1 -- cleanup >/dev/null 2>&1 || fail "cleanup" ""
on ipvsadm -A -t 203.0.113.1:80 -s wrr
on ipvsadm -a -t 203.0.113.1:80 -r 203.0.113.9:80 -g -w 7
on ip link add other type dummy
on ip addr add 203.0.113.50/32 dev other
on ip rule add from 203.0.113.0/24 lookup 500 priority 5000
on ip route add 203.0.113.64/26 via 192.168.123.248
on ipset create admins hash:ip
on ipset add admins 203.0.113.8
on iptables -A INPUT -m set --match-set admins src -j DROP
on iptables -t nat -A POSTROUTING -s 203.0.113.0/24 -j MASQUERADE
before=$(linux)

$LAB agent flags node1 -- --hairpin-mode --masquerade-all --nodeport-bindon-all-ip
$LAB agent start node1
$LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: whats-my-ip, namespace: default }
spec:
  type: NodePort
  clusterIP: $VIP
  selector: { app: whats-my-ip }
  ports: [{ port: 8080, targetPort: 8080, nodePort: 34507 }]
YAML
settle
expect "the node serves" "$(ask node-node1 $VIP 8080 3 | answered_by)" "$(all_three 1)"
[ "$(linux)" != "$before" ] || fail "there is something to clean up" ""

$LAB agent stop node1
out=$($LAB run node1 -- --cleanup-config 2>&1)
expect "--cleanup-config ends with 0" "$? $(tail -n 1 <<<"$out" | grep -o 'nothing of ours is left')" "0 nothing of ours is left"
after=$(linux)
[ "$after" = "$before" ] || fail "Linux is as it was before" "$(diff <(echo "$before") <(echo "$after"))"
pass "Linux is as it was before"
expect "a second one finds nothing" "$($LAB run node1 -- --cleanup-config 2>&1)" "0 removed, nothing of ours is left"
