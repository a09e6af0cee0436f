# What the agent's scenarios share.
. "$(dirname "$0")/../seeds/lib.sh"

snapshot() { # snapshot: all of node one's Linux that the agent may touch, without counters
  $LAB exec node-one sh -c '
    ipvsadm -Sn | sort
    ip -o addr show | grep -v "scope link" | awk "{ print \$2, \$4 }" | sort
    ip -4 route show table local | sort; ip -6 route show table local | grep -v fe80 | sort
    ip -4 route show table main | sort; ip -6 route show table main | grep -v fe80 | sort
    iptables-save | grep -v "^#" | sed "s/\[[0-9:]*\]//"; ip6tables-save | grep -v "^#" | sed "s/\[[0-9:]*\]//"'
}

within() { # within SECONDS DESCRIPTION COMMAND…: the command succeeds within the time
  local start description=$2 deadline
  start=$(date +%s%N)
  deadline=$((start + $1 * 1000000000))
  shift 2
  while ! "$@" >/dev/null 2>&1; do
    [ "$(date +%s%N)" -lt "$deadline" ] || fail "$description" "$(snapshot)"
    sleep 0.05
  done
  pass "$description, seen after $((($(date +%s%N) - start) / 1000000)) ms"
}

probe_all() { # probe_all FROM PROTOCOL COUNT ADDRESS PORT: who answered
  local i
  for ((i = 0; i < $3; i++)); do
    printf '{"from":"%s","to":"%s","port":%s,"protocol":"%s","timeoutMs":2000,"id":"%s"}\n' "$1" "$4" "$5" "$2" "$i"
  done | $LAB probe | jq -r '.result + " " + (.answer // "")' | sort | answered_by
}

same_snapshot() { # same_snapshot DESCRIPTION BEFORE: Linux is as it was; prints only the difference
  local now
  now=$(snapshot)
  [ "$now" = "$2" ] || fail "$1" "$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$now"))"
  pass "$1"
}
