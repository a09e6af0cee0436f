#!/usr/bin/env bash
# Taking over from kube-router and kube-proxy under load, and what `doctor` says before and after.
. "$(dirname "$0")/../agent/lib.sh"
settle
run() { $LAB run one -- "$@"; }
on() { $LAB exec node-one "$@"; }
reached() { [ "$(ask pod-shop-client 10.96.0.15 80 1 | cut -d' ' -f1)" = ok ]; }
within 30 "a Service answers" reached

load() { # load: asks a cluster IP and a node port, whose one endpoint is here, until `rest`
  rm -f "$LAB_OUT/rest"
  while [ ! -e "$LAB_OUT/rest" ]; do
    for to in "pod-shop-client 10.96.0.15 80" "node-one 10.96.0.15 80" "client-outside 10.1.0.11 30085"; do
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
unmark() { # what is ours is nobody's any more; services by firewall mark, which the others have not, are gone
  for mark in $(on ipvsadm -Sn | awk '$2 == "-f" && $1 == "-A" { print $3 }'); do on ipvsadm -D -f "$mark"; done
  on rm -f /run/routelet/proxy.ipvs.ledger
  on ip link set kube-dummy-if alias "" 2>/dev/null
}
table() { on ipvsadm -Sn | sort; }
before=$(table)

says "a node in order has nothing to migrate" 0 '^kube-router left nothing here$' migrate --from=kube-router
says "doctor finds nothing to mend, or says what" 0 'ok +node/object +Node "one" has the address 10.1.0.11' doctor
says "doctor asks for each kind that is watched" 0 'ok +rbac/networkpolicies' doctor

# kube-router: as it would leave its link and its services.
load
$LAB agent stop one
unmark
says "doctor finds kube-router's link" 0 'WARN +leftovers/kube-router +kube-router left link kube-dummy-if without our mark' doctor --kubeconfig=/run/lab/nodes/one/kubeconfig --enable-cni=false
says "it shows what it would adopt" 2 '^= ipvs service tcp 10.96.0.15:80 rr$' migrate --from=kube-router
expect "and changes nothing" "$(on sh -c 'cat /sys/class/net/kube-dummy-if/ifalias; ls /run/routelet | grep -c ipvs.ledger')" "0"
says "with --yes it does" 0 '^done: 13 adopted$' migrate --from=kube-router --yes
$LAB agent start one
settle
none_lost "nothing was lost on the way from kube-router"
expect "IPVS is as it was" "$(table)" "$before"
expect "all of it is ours" "$(run plan 2>&1)" ""

# kube-proxy in IPVS mode, with what its iptables mode leaves as well.
load
$LAB agent stop one
on sh -c 'ip link add kube-ipvs0 type dummy; for vip in $(ip -o -4 addr show dev kube-dummy-if | awk "{ print \$4 }"); do ip addr add $vip dev kube-ipvs0; done'
unmark
on ip link del kube-dummy-if
on iptables-restore --noflush <<RULES
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-OLD - [0:0]
:KUBE-SEP-OLD - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.99.99/32 -p tcp --dport 80 -j KUBE-SVC-OLD
-A KUBE-SVC-OLD -j KUBE-SEP-OLD
-A KUBE-SEP-OLD -p tcp -j DNAT --to-destination 10.244.1.99:8080
COMMIT
RULES
on ipset create KUBE-CLUSTER-IP hash:ip,port
on ipset create mine hash:ip
says "doctor names kube-proxy's things" 0 'WARN +leftovers/kube-proxy +kube-proxy left 3 chains KUBE-…, link kube-ipvs0' doctor --kubeconfig=/run/lab/nodes/one/kubeconfig --enable-cni=false
says "without an agent it adopts, and says what comes then" 2 '^then: 3 things are removed only beside an agent that is ready' migrate --from=kube-proxy --yes
$LAB agent start one
settle
says "beside the agent it removes the rest" 0 '^done: 3 removed$' migrate --from=kube-proxy --yes
settle
none_lost "nothing was lost on the way from kube-proxy"
expect "IPVS is as it was" "$(table)" "$before"
expect "no chain, set or link of kube-proxy is left" \
  "$(on sh -c 'iptables-save | grep -cE "KUBE-(SERVICES|SVC|SEP)"; ipset list -n | grep -c KUBE-CLUSTER; ip -o link 2>/dev/null | grep -c kube-ipvs0')" "$(printf '0\n0\n0')"
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
