#!/usr/bin/env bash
# Taking over from kube-router and kube-proxy under load, and what `doctor` says before and after.
. "$(dirname "$0")/../agent/lib.sh"
settle
run() { $LAB run one -- "$@"; }
on() { $LAB exec node-one "$@"; }
reached() { [ "$(ask pod-shop-client 10.96.0.15 80 1 | cut -d' ' -f1)" = ok ]; }
within 30 "a Service answers" reached

# Direct server return, as both agents have it: its mark is the hash of "203.0.113.20-tcp-8080".
$LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: direct, namespace: shop, annotations: { kube-router.io/service.dsr: tunnel } }
spec: { clusterIP: 10.96.0.20, externalIPs: [203.0.113.20], selector: { where: near }, ports: [{ port: 8080 }] }
YAML
settle
DIRECT=$(on ip rule | sed -n 's/.*fwmark \(0x[0-9a-f]*\) lookup 78 .*/\1/p')
[ -n "$DIRECT" ] || fail "direct server return has a mark" "$(on ip rule)"

load() { # load [MORE…]: asks a cluster IP, a node port and more, whose one endpoint is here, until `rest`
  rm -f "$LAB_OUT/rest"
  while [ ! -e "$LAB_OUT/rest" ]; do
    for to in "pod-shop-client 10.96.0.15 80" "node-one 10.96.0.15 80" "client-outside 10.1.0.11 30085" "$@"; do
      for i in 1 2 3 4; do
        # shellcheck disable=SC2086 # three words
        printf '{"from":"%s","to":"%s","port":%s,"protocol":"TCP","timeoutMs":4000,"id":"%s"}\n' $to "$to"
      done
    done | $LAB probe | jq -r '.result + " " + .id'
  done >"$LAB_OUT/load" &
  loader=$!
}
none_lost() { # none_lost DESCRIPTION
  touch "$LAB_OUT/rest"
  wait "$loader"
  [ "$(grep -c '^ok ' "$LAB_OUT/load")" -gt 20 ] && ! grep -qv '^ok ' "$LAB_OUT/load" || fail "$1" "$(sort "$LAB_OUT/load" | uniq -c)"
  pass "$1: $(grep -c '^ok ' "$LAB_OUT/load") of $(wc -l <"$LAB_OUT/load") connections"
}
says() { # says DESCRIPTION STATUS PATTERN ARGUMENTS…: it exits so and prints a line of that pattern
  local description=$1 status=$2 pattern=$3 text got
  shift 3
  text=$(run "$@" 2>&1)
  got=$?
  [ "$got" = "$status" ] && grep -qE -- "$pattern" <<<"$text" || fail "$description: exit $got" "$text"
  pass "$description"
}
unmark() { # unmark [MARK]: what is ours is nobody's any more; services by a firewall mark, which the others have not, are gone but for that MARK
  for mark in $(on ipvsadm -Sn | awk '$2 == "-f" && $1 == "-A" { print $3 }'); do
    [ "$mark" = "${1:-}" ] || on ipvsadm -D -f "$mark"
  done
  on rm -f /run/routelet/proxy.ipvs.ledger
  on ip link set kube-dummy-if alias "" 2>/dev/null
}
table() { on ipvsadm -Sn | sort; }
as_kube_router() { # direct server return as kube-router leaves it: rules in the table's own chains, routes and rules of no protocol, tunnels without a mark
  on iptables-restore --noflush <<RULES
*mangle
-A PREROUTING -d 203.0.113.20/32 -p tcp -m tcp --dport 8080 -j MARK --set-xmark $DIRECT/0xffffffff
-A OUTPUT -d 203.0.113.20/32 -p tcp -m tcp --dport 8080 -j MARK --set-xmark $DIRECT/0xffffffff
-A PREROUTING -s 203.0.113.20/32 -i kube-bridge -p tcp -m tcp --sport 8080 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440
COMMIT
RULES
  on iptables-save -t mangle | grep -E '^-A (PREROUTING|OUTPUT) .*KUBE-ROUTER-DSR' | sed 's/^-A/-D/' | { echo '*mangle'; cat; echo COMMIT; } | on iptables-restore --noflush
  chain=$(on iptables-save -t mangle | sed -n 's/^:\(KUBE-ROUTER-DSR-[0-9A-F]*\) .*/\1/p')
  on iptables -t mangle -F "$chain" && on iptables -t mangle -X "$chain"
  on ip rule add priority 32764 fwmark "$DIRECT" lookup 78 && on ip rule del priority 32764 fwmark "$DIRECT" lookup 78 protocol 201
  on ip route change local default dev lo table 78 proto boot
  $LAB exec pod-shop-near ip link set kube-tunnel-if alias ""
}
direct() { # what it is made of, whosever it is
  on ip rule | grep 'lookup 78'
  on ip route show table 78
  on iptables-save -t mangle | grep -E 'KUBE-ROUTER-DSR|203\.0\.113\.20' | grep -v '^:' | sort
  $LAB exec pod-shop-near sh -c 'exec 2>/dev/null; cat /sys/class/net/kube-tunnel-if/ifalias; ip -o addr show dev kube-tunnel-if | grep -o "203[0-9./]*"'
}
directly=$(direct)
before=$(table)

says "a node in order has nothing to migrate" 0 '^kube-router left nothing here$' migrate --from=kube-router
says "doctor finds nothing to mend, or says what" 0 'ok +node/object +Node "one" has the address 10.1.0.11' doctor
says "doctor asks for each kind that is watched" 0 'ok +rbac/networkpolicies' doctor

# kube-router: as it would leave its link and its services.
load "client-outside 203.0.113.20 8080"
$LAB agent stop one
unmark "$((DIRECT))"
as_kube_router
says "doctor finds kube-router's link" 0 'WARN +leftovers/kube-router +kube-router left link kube-dummy-if without our mark' doctor --kubeconfig=/run/lab/nodes/one/kubeconfig --enable-cni=false
says "it shows what it would adopt" 2 '^= ipvs service tcp 10.96.0.15:80 rr$' migrate --from=kube-router
says "and of direct server return as well" 2 '^= tunnel kube-tunnel-if in pod 10.244.1.6 with 203.0.113.20$' migrate --from=kube-router
expect "and changes nothing" "$(on sh -c 'cat /sys/class/net/kube-dummy-if/ifalias; ls /run/routelet | grep -c ipvs.ledger')" "0"
says "with --yes it does" 2 '^done: 17 adopted$' migrate --from=kube-router --yes
$LAB agent start one
settle
says "beside the agent it removes kube-router's rules" 0 '^done: 1 removed$' migrate --from=kube-router --yes
says "and then nothing is left" 0 '^kube-router left nothing here$' migrate --from=kube-router
none_lost "nothing was lost on the way from kube-router"
expect "IPVS is as it was" "$(table)" "$before"
expect "and so is direct server return, with our marks" "$(direct)" "$directly"
expect "all of it is ours" "$(run plan 2>&1)" ""
$LAB delete - <<YAML
{ apiVersion: v1, kind: Service, metadata: { name: direct, namespace: shop } }
YAML
settle
expect "so that it goes when its Service goes" "$(direct)" ""
before=$(table)

# kube-proxy in IPVS mode, with what its iptables mode leaves as well.
load
$LAB agent stop one
on sh -c 'ip link add kube-ipvs0 type dummy; for vip in $(ip -o -4 addr show dev kube-dummy-if | awk "{ print \$4 }"); do ip addr add $vip dev kube-ipvs0; done'
unmark
on ip link del kube-dummy-if
left_by_kube_proxy node-one 10.96.99.99 10.244.1.99
on ipset create mine hash:ip
says "doctor names kube-proxy's things" 0 'WARN +leftovers/kube-proxy +kube-proxy left 4 chains KUBE-…, link kube-ipvs0' doctor --kubeconfig=/run/lab/nodes/one/kubeconfig --enable-cni=false
says "without an agent it adopts, and says what comes then" 2 '^then: 3 things are removed only beside an agent that is ready' migrate --from=kube-proxy --yes
$LAB agent start one
settle
says "beside the agent it removes the rest" 0 '^done: 3 removed$' migrate --from=kube-proxy --yes
settle
none_lost "nothing was lost on the way from kube-proxy"
expect "IPVS is as it was" "$(table)" "$before"
expect "no chain, set or link of kube-proxy is left" \
  "$(on sh -c 'iptables-save | grep -cE "KUBE-(SERVICES|SVC|SEP|MARK)"; ipset list -n | grep -c KUBE-CLUSTER; ip -o link 2>/dev/null | grep -c kube-ipvs0')" "$(printf '0\n0\n0')"
expect "what is others' is" "$(on ipset list -n | grep -x mine)" mine
planned() { [ "$(run plan 2>&1)" = "" ]; }
within 20 "and all that is wanted is there" planned

# A program that still runs would put everything back.
on sh -c 'cp /bin/sleep /tmp/kube-proxy; exec /tmp/kube-proxy 1000' &
alive() { run doctor 2>&1 | grep -q 'FAIL  agents/kube-proxy'; }
within 10 "doctor sees a kube-proxy that runs" alive
says "and migrate does nothing beside it" 1 'kube-proxy runs here as process' migrate --from=kube-proxy --yes
kill "$(on sh -c 'grep -lx kube-proxy /proc/[0-9]*/comm | head -n 1' | cut -d/ -f3)"
wait 2>/dev/null
