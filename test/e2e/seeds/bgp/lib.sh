# What the scripts with R1 (BIRD) and R2 (FRR) share.

eventually() { # eventually DESCRIPTION COMMAND…: within half a minute
  local what=$1 i out=''
  shift
  for ((i = 0; i < 60; i++)); do
    out=$("$@" 2>&1) && { pass "$what"; return; }
    sleep 0.5
  done
  fail "$what" "$out"
}

words() { tr -s ' \n' ' ' | sed 's/^ //; s/ $//'; }

r1_established() { # r1_established PROTOCOL…
  local p
  for p in "$@"; do
    $LAB exec router-R1 birdc show protocols "$p" | grep -q Established || return 1
  done
}

r1_has() { # r1_has PREFIX NEXTHOP…: exactly these, of nodes
  local prefix=$1 got
  shift
  got=$($LAB exec router-R1 birdc "show route $prefix all" | grep -A20 'node0' | grep -B1 -A12 'unicast' |
    grep -o 'via 10.129.6.21[0-9]' | awk '{ print $2 }' | sort -u | words)
  echo "$prefix: $got"
  [ "$got" = "$*" ]
}

r2_json() { $LAB exec router-R2 vtysh -c "$1"; }

r2_established() { # r2_established ADDRESS…
  local a
  for a in "$@"; do
    [ "$(r2_json 'show bgp summary json' | jq -r --arg a "$a" '.ipv4Unicast.peers[$a].state')" = Established ] || return 1
  done
}

r2_has() { # r2_has PREFIX NEXTHOP…: exactly these, of nodes
  local prefix=$1 got
  shift
  got=$(r2_json "show bgp ipv4 unicast $prefix json" |
    jq -r '[.paths[]? | .nexthops[]? | .ip] | unique | .[]' | sort -u | words)
  echo "$prefix: $got"
  [ "$got" = "$*" ]
}

by() { # by ROUTER: the shared address moves there, as VRRP does it
  local r
  for r in R1 R2; do $LAB exec "router-$r" ip addr del 10.129.6.8/32 dev eth0 2>/dev/null; done
  $LAB exec "router-$1" ip addr add 10.129.6.8/32 dev eth0
  $LAB exec client-outside ip neigh flush all
}

reached() { # reached ADDRESS: from outside
  ask client-outside "$1" 80 4 | grep -c '^ok ' | grep -qx 4
}
