#!/bin/bash
exec 2>/dev/null
# linux.sh [pod]: everything of this network namespace's Linux that an agent could have made or changed, by Linux's own tools, without what
# moves by itself: counters, timers, indexes, link-local addresses' neighbours.
part() { printf '== %s\n' "$1"; cat; }
bare() { grep -v '^#' | sed -E 's/^(:[^ ]+ [^ ]+) \[[0-9]+:[0-9]+\]$/\1/; s/^\[[0-9]+:[0-9]+\] //'; }
# A table of ip_tables that was asked for once stays until its module goes; Linux knows no way to give it back.
filled() { awk '/^\*/ { text = ""; kept = 0 } { text = text $0 "\n" } !/^(\*|COMMIT|:[A-Z]+ ACCEPT$)/ { kept = 1 } /^COMMIT/ && kept { printf "%s", text }'; }
netfilter() { # what pods have none of that is ours
  { ipvsadm -Sn | sort; ipvsadm -Ln --timeout; ipvsadm -Ln --daemon; } | part ipvs
  for v in "" 6; do
    ip${v}tables-nft-save | bare | part "ip${v}tables-nft"
    ip${v}tables-legacy-save | bare | filled | part "ip${v}tables-legacy"
  done
  nft -s list ruleset | part nft
  ipset save | sort | sed -E 's/ (hashsize|initval|bucketsize) [0-9a-fx]+//g' | part ipset
  { conntrack -L -f ipv4; conntrack -L -f ipv6; } | grep -oE 'zone(-orig|-reply)?=[0-9]+|mark=[1-9][0-9]*' | sort -u | part 'conntrack zones and marks'
}
ip -d -o link show | sed -E 's/^[0-9]+: //; s/(_timer|last_member_[a-z_]+) +[0-9.]+//g; s/@if[0-9]+/@/; s/ addrgenmode [a-z0-9]+//' | sort | part link
bridge -d link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//' | sort | part 'bridge ports'
ip -d -o addr show | sed -E 's/^[0-9]+: //' | sort | part address
for v in 4 6; do
  ip -$v -d route show table all | sed -E 's/ +$//' | sort | part "route -$v"
  ip -$v -d rule show | part "rule -$v"
  ip -$v neigh show nud permanent | part "neighbour -$v"
done
[ "${1:-}" = pod ] || netfilter
ip fou show | part fou
tc qdisc show | sort | part qdisc
ss -Hlntu | awk '{ print $1, $5 }' | sort | part 'listening sockets'
grep -rsv '^$' /proc/sys/net | grep -vE '^/proc/sys/net/(netfilter/nf_conntrack_count|ipv4/tcp_fastopen_key|ipv6/conf/[^/]*/stable_secret)' | sort | part sysctl
sed -E 's/^([^ ]+ [^ ]+).*/\1/' /proc/self/mounts | sort | part mounts
find /run/routelet /etc/cni/net.d /var/lib/routelet /var/lib/kube-router /etc/routelet /etc/iproute2 /etc/systemd/system /etc/default \
  /usr/local/bin/routelet -type f -exec sha256sum {} + | sort | part files
