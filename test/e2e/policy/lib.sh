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
