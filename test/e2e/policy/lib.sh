# What the firewall's scenarios share.
. "$(dirname "$0")/../agent/lib.sh"

policy() { # policy NAMESPACE/NAME SPEC: makes a NetworkPolicy of a spec in YAML's flow style, and waits until it is in Linux
  printf 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { namespace: %s, name: %s }\nspec: %s\n' \
    "${1%/*}" "${1#*/}" "$2" | $LAB apply -
  $LAB wait >/dev/null
}

unpolicy() { # unpolicy NAMESPACE/NAME…
  local one
  for one in "$@"; do
    printf 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { namespace: %s, name: %s }\n' \
      "${one%/*}" "${one#*/}" | $LAB delete -
  done
  $LAB wait >/dev/null
}

reach() { # reach PROTOCOL PORT FROM… -- ADDRESS…: "FROM ADDRESS yes|no" lines, sorted
  local protocol=$1 port=$2 from to senders=()
  shift 2
  while [ "$1" != -- ]; do
    senders+=("$1")
    shift
  done
  shift
  for from in "${senders[@]}"; do
    for to in "$@"; do
      printf '{"from":"%s","to":"%s","port":%s,"protocol":"%s","timeoutMs":1000}\n' "$from" "$to" "$port" "$protocol"
    done
  done | $LAB probe | jq -r '"\(.from) \(.to) \(if .result == "ok" then "yes" else "no" end)"' | sort
}

table() { # table LINE…: lines, sorted
  printf '%s\n' "$@" | sort
}

PODS="pod-a-web pod-a-db pod-a-dns pod-b-web pod-b-db pod-c-other"
OUTSIDE=client-outside

who() { # who PROTOCOL PORT ADDRESS…: which pods, and a client outside, reach it; a name with "!" reaches only some of the addresses
  local protocol=$1 port=$2
  shift 2
  reach "$protocol" "$port" $PODS $OUTSIDE -- "$@" |
    awk -v all=$# '$3 == "yes" { n[$1]++ } END { for (who in n) print who (n[who] < all ? "!" : "") }' |
    sed 's/^pod-//; s/^client-//' | sort | tr '\n' ' ' | sed 's/ $//'
}

everyone() { echo "a-db a-dns a-web b-db b-web c-other outside"; }

knock() { # knock NETNS TARGET…: in the background, returning when it has begun, until `enough`; see knock.py
  python3 "$(dirname "$0")/knock.py" "$LAB_OUT" "$@" &
  while [ ! -e "$LAB_OUT/knocking-$1" ]; do sleep 0.1; done
}

enough() { # enough: ends all that knock
  local job
  touch "$LAB_OUT/enough"
  for job in $(jobs -p); do wait "$job" || fail "the clients ran" ""; done
  rm "$LAB_OUT/enough"
}

knocks() { # knocks NETNS TARGET FIELD: what came of it; see knock.py
  awk -v target="$2" -v field="$3" '$1 == target { print $field }' "$LAB_OUT/knocks-$1"
}

never() { # never DESCRIPTION NETNS TARGET: it knocked and was never let in
  local line
  line=$(grep -F "$3 " "$LAB_OUT/knocks-$2")
  [[ $line =~ \ [1-9][0-9]+\ 0\ [0-9]+\ [0-9]+$ ]] || fail "$1" "$2: $line"
  pass "$1: $(knocks "$2" "$3" 2) times"
}

always() { # always DESCRIPTION NETNS TARGET: it knocked and was let in each time
  local count
  count=$(knocks "$2" "$3" 2)
  [ "${count:-0}" -gt 9 ] && [ "$count" = "$(knocks "$2" "$3" 3)" ] || fail "$1" "$2: $(grep -F "$3 " "$LAB_OUT/knocks-$2")"
  pass "$1: $count times"
}

killed_at_starts() { # killed_at_starts SECONDS…: kill -9 of node1's agent, and again so long into its next start
  local pause starter
  for pause in "$@"; do
    $LAB agent kill node1
    $LAB agent start node1 2>/dev/null &
    starter=$!
    sleep "$pause"
    $LAB agent kill node1
    wait $starter
  done
}
