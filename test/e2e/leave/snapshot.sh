#!/usr/bin/env bash
# Nodes are photographed before an agent ever ran there; everything runs; it is uninstalled; the photographs are the same.
. "$(dirname "$0")/../agent/lib.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
# OLDER: the executable of an earlier release, which node `past` runs. FORGETFUL: one of before it noted all that it changes.
NODES="one old ${OLDER:+past}"
mkdir -p -m 755 /run/plugins.d "$LAB_OUT/before" "$LAB_OUT/after"
on() { local node=$1; shift; $LAB exec "node-$node" "$@"; }

photograph() { # photograph FOLDER: one file a namespace
  local ns
  for ns in node-one node-old node-past pod-default-web pod-default-past; do $LAB exec $ns "$HERE/linux.sh" ${ns%%-*} >"$LAB_OUT/$1/$ns"; done
  [ -z "${FORGETFUL:-}" ] || forgive "$LAB_OUT/$1/node-past"
}
forgive() { # forgive FILE: drops what such a release changed without a note of what was before: nobody can bring that back
  awk '
    # Side effects of ip_forward; the layout of a CNI configuration.
    /accept_redirects:|conf\/eth0\/forwarding:|\/10-kuberouter.conf$/ { next }
    # Empty tables that iptables-nft made.
    /^(\*|table )/ { text = ""; kept = 0; inside = 1 }
    inside { text = text $0 "\n" }
    inside && !/^(\*|COMMIT|:[A-Z]+ ACCEPT$|table |}|$|\t(chain [A-Z]+ {|}))|policy accept;$/ { kept = 1 }
    inside && /^(COMMIT|})/ { inside = 0; if (kept) printf "%s", text; next }
    !inside' "$1" >"$1.new" && mv "$1.new" "$1"
}
same() { # same DESCRIPTION
  photograph after
  diff -rU0 "$LAB_OUT/before" "$LAB_OUT/after" >"$LAB_OUT/difference" || fail "$1" "$(cat "$LAB_OUT/difference")"
  pass "$1"
}
start() { # start FLAGS…
  local node
  for node in $NODES; do
    $LAB agent flags $node -- "$@"
    $LAB agent start $node
  done
  settle
}

# Hosts that nobody has prepared, with things of others.
for node in $NODES; do
  on $node bash -e -c '
    sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.eth0.forwarding=1
    echo "{ \"cniVersion\": \"0.3.0\", \"name\": \"net\", \"type\": \"bridge\", \"bridge\": \"kube-bridge\", \"ipam\": { \"type\": \"host-local\" } }" >/etc/cni/net.d/10-kuberouter.conf
    ip link add other type dummy; ip addr add 203.0.113.200/32 dev other
    ip rule add from 203.0.113.200 lookup 500 priority 5000; ip route add 192.0.2.0/24 via 10.1.0.254
    ipvsadm -A -t 203.0.113.200:80 -s wrr; ipset create admins hash:ip; ipset add admins 203.0.113.8' || fail "others set $node up" ""
done
[ -z "${OLDER:-}" ] || $LAB agent executable past "$OLDER"
on one iptables-nft -A INPUT -s 203.0.113.9 -m comment --comment "an admin's" -j DROP
on old iptables-legacy -t mangle -N KUBE-IPTABLES-HINT
on old iptables-legacy -A INPUT -s 203.0.113.9 -m comment --comment "an admin's" -j DROP
on old bash -c 'ip link del kube-bridge; rm /etc/cni/net.d/*'
photograph before
out=$($LAB run old -- install --run-router) || fail "install" "$out"
expect "install names each file" "$(grep -c '^wrote /' <<<"$out") $($LAB run old -- install --run-router | grep -c '^wrote')" "4 0"

cp "$HERE/../../../plugins.d/hostport.ts" /run/plugins.d/hostport.ts && chmod 644 /run/plugins.d/hostport.ts
start
expect "Services work" "$(probe_all client-outside TCP 1 10.1.0.11 30080 | cut -d- -f1 | sed 's/web$/far/')" "1 default/far"
everything() { $LAB exec pod-default-web ip link | grep -q kube-tunnel && on one ipvsadm -Ln | grep -q 10.1.0.11:8088 && on one ip rule | grep -q 'lookup 77'; }
within 20 "all of it is in Linux" everything
$LAB agent flags old -- --netfilter=nftables
$LAB agent restart old
settle
expect "one has switched to nftables" "$(on old nft list tables | grep -c routelet)" "2"

$LAB agent kill $NODES
$LAB api fail down
if [ -n "${OLDER:-}" ]; then
  out=$($LAB run past -- cleanup --verify 2>&1)
  expect "cleanup after an earlier release" "$? $(grep -o '^verified: nothing of ours is left' <<<"$out")" "0 verified: nothing of ours is left"
fi
out=$($LAB run one -- --cleanup-config 2>&1)
expect "--cleanup-config after a kill, without an API server" "$? $(tail -n 1 <<<"$out" | grep -o 'nothing of ours is left')" "0 nothing of ours is left"
out=$($LAB run old -- uninstall --verify 2>&1)
status=$?
printf '%s\n' "$out" >"$LAB_OUT/proof"
expect "uninstall --verify after a kill, without an API server" "$status $(grep -o '^verified: nothing of ours is left' <<<"$out") $(grep -c '^removed /' <<<"$out")" "0 verified: nothing of ours is left 5"
proved() { awk -v where="$1" '$0 ~ "^ *" where " " { print $(NF - 2), $(NF - 1), $NF }' "$LAB_OUT/proof"; }
expect "which counts what others have, and looked at pods" "$(proved ipvs.service) $(proved ipset) $(grep -cE 'links of ([3-9]|1[0-9]) network namespaces' "$LAB_OUT/proof")" "1 0 1 1 0 1 1"
same "Linux is as it was, byte for byte"
