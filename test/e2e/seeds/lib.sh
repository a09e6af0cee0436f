# What the scenario scripts share. Each check prints one line; the first that fails ends the script with status 1.
set -u

VIP=10.254.175.147
PODS="default/whats-my-ip-1 default/whats-my-ip-2 default/whats-my-ip-3"

fail() { # fail DESCRIPTION GOT
  printf 'FAIL %s\n%s\n' "$1" "$2" >&2
  exit 1
}

pass() { printf 'ok   %s\n' "$1"; }

expect() { # expect DESCRIPTION GOT WANTED: the very same text
  [ "$2" = "$3" ] || fail "$1: wanted: $3; got:" "$2"
  pass "$1"
}

expect_line() { # expect_line DESCRIPTION TEXT LINE: TEXT has this line, runs of blanks aside
  printf '%s\n' "$2" | tr -s ' ' | sed 's/^ //; s/ $//' | grep -qxF -- "$3" || fail "$1: no line \"$3\" in:" "$2"
  pass "$1"
}

ipvs() { # ipvs NODE: the IPVS table as ipvsadm prints it
  $LAB exec "node-$1" ipvsadm -Ln
}

ipvs_service() { # ipvs_service NODE "TCP 1.2.3.4:80": that service's lines, destinations sorted, counters left out
  ipvs "$1" | tr -s ' ' | sed 's/ $//' | awk -v service="$2" '
    /^(TCP|UDP|SCTP|FWM) / { on = index($0 " ", service " ") == 1; if (on) print; next }
    on && $1 == "->" { print $2, $3, $4 | "sort" }'
}

ask() { # ask FROM ADDRESS PORT COUNT: sends COUNT requests at once; prints "result answer" lines, sorted
  local from=$1 to=$2 port=$3 count=$4 i
  for ((i = 0; i < count; i++)); do
    printf '{"from":"%s","to":"%s","port":%s,"protocol":"TCP","timeoutMs":3000,"id":"%s"}\n' "$from" "$to" "$port" "$i"
  done | $LAB probe | jq -r '.result + " " + (.answer // "")' | sort
}

answered_by() { # answered_by <<< "$(ask …)": the pods that answered, with how often: "2 default/a"
  awk '{ print ($1 == "ok") ? $2 : $1 }' | sort | uniq -c | awk '{ print $1, $2 }'
}

seen_as() { # seen_as <<< "$(ask …)": the client addresses that pods saw
  awk '$1 == "ok" { print $4 }' | sort -u
}

all_three() { # all_three COUNT: what answered_by prints when every pod answered COUNT times
  local pod
  for pod in $PODS; do echo "$1 $pod"; done
}

settle() { $LAB wait >/dev/null || fail "the agents did not settle" ""; }

left_by_kube_proxy() { # left_by_kube_proxy NAMESPACE VIP POD: rules of its iptables mode and a set of its IPVS mode, for a Service that is gone
  $LAB exec "$1" iptables-restore --noflush <<RULES
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-OLD - [0:0]
:KUBE-SEP-OLD - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d $2/32 -p tcp --dport 80 -j KUBE-SVC-OLD
-A KUBE-SVC-OLD -j KUBE-SEP-OLD
-A KUBE-SEP-OLD -p tcp -j DNAT --to-destination $3:8080
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
COMMIT
RULES
  $LAB exec "$1" ipset create KUBE-CLUSTER-IP hash:ip,port
}
