# What the scripts with R1 (BIRD) and R2 (FRR) and three nodes share.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

NODES="node01 node02 node03"
declare -A AT=([node01]=10.129.6.211 [node02]=10.129.6.212 [node03]=10.129.6.213 [R1]=10.129.6.91 [R2]=10.129.6.92)

annotate() { # annotate NODE [KEY VALUE]…: these are all its annotations; keys without "kube-router.io/"
  local node=$1 body
  shift
  body=$(jq -n '[{ op: "add", path: "/metadata/annotations",
    value: ([$ARGS.positional | _nwise(2) | { key: ("kube-router.io/" + .[0]), value: .[1] }] | from_entries) }]' --args -- "$@")
  curl -sf -X PATCH -H "Authorization: Bearer $LAB_TOKEN" -H "Content-Type: application/json-patch+json" \
    -d "$body" "$LAB_API/api/v1/nodes/$node" >/dev/null || fail "node $node cannot be annotated" "$body"
}

neighbors() { $LAB run "$1" -- bgp neighbors --output json; }

sessions() { # sessions NODE [ADDRESS]: of all its neighbours but that one, what a touched session would change
  neighbors "$1" | jq -r --arg but "${2:-}" '
    .neighbors[] | select(.address != $but) | "\(.address) \(.state) established \(.established) lost \(.flaps) since \(.since)"' | sort
}

established() { # established NODE PEER…: these sessions are, by the node's own word
  local node=$1 all peer
  shift
  all=$(neighbors "$node" | jq -r '.neighbors[] | "\(.address) \(.state) \(.lastError)"')
  echo "$all"
  for peer in "$@"; do grep -q "^${AT[$peer]} Established" <<<"$all" || return 1; done
}

peers_are() { # peers_are NODE PEER…: these and no others are configured
  local node=$1 got want peer
  shift
  got=$(neighbors "$node" | jq -r '.neighbors[].address' | sort)
  want=$(for peer in "$@"; do echo "${AT[$peer]}"; done | sort)
  echo "$got"
  [ "$got" = "$want" ]
}

r1() { $LAB exec router-R1 birdc "$@"; }
r2() { $LAB exec router-R2 vtysh -c "$1"; }

in_r1() { # in_r1 PREFIX NODE…: R1 has it from exactly these
  local prefix=$1 got want node
  shift
  got=$(r1 "show route $prefix" | grep -o '\[node0[0-9] ' | tr -d '[ ' | sort | tr '\n' ' ')
  want=$(for node in "$@"; do echo "$node"; done | sort | tr '\n' ' ')
  echo "R1 has $prefix from: $got"
  [ "$got" = "$want" ]
}

in_r2() { # in_r2 PREFIX NODE…: R2 has it from exactly these
  local prefix=$1 got want node
  shift
  got=$(r2 "show bgp ipv4 unicast $prefix json" | jq -r '[.paths[]? | .nexthops[]? | .ip] | unique | .[]' | sort | tr '\n' ' ')
  want=$(for node in "$@"; do echo "${AT[$node]}"; done | sort | tr '\n' ' ')
  echo "R2 has $prefix from: $got"
  [ "$got" = "$want" ]
}

r1_says() { # r1_says PREFIX TEXT: that stands in R1's view of it
  local got
  got=$(r1 "show route $1 all" | tr -s '\t ' ' ')
  echo "$got"
  grep -qF -- "$2" <<<"$got"
}

logged() { # logged NODE TEXT: how often
  $LAB agent logs "$1" | grep -cF -- "$2"
}

is_logged() { # is_logged NODE TEXT: at least once
  $LAB agent logs "$1" | tail -n 30
  [ "$(logged "$1" "$2")" -gt 0 ]
}

problems() { $LAB run "$1" -- status --output json | jq -r '.plugins[] | select(.name == "router") | .problems[]? | "\(.subject): \(.reason)"'; }

has_problem() { # has_problem NODE TEXT
  local got
  got=$(problems "$1")
  echo "$got"
  grep -qF -- "$2" <<<"$got"
}

no_problem() { # no_problem NODE
  local got
  got=$(problems "$1")
  echo "$got"
  [ -z "$got" ]
}

untouched() { # untouched DESCRIPTION BEFORE NODE [ADDRESS]: sessions are what they were
  expect "$1" "$(sessions "$3" "${4:-}")" "$2"
}

route() { # route NODE PREFIX: ours, in Linux
  on "$1" ip -4 route show "$2" proto 202 | tr -s ' \n\t' ' ' | sed 's/ $//'
}

route_is() { # route_is NODE PREFIX TEXT
  local got
  got=$(route "$1" "$2")
  echo "$got"
  [ "$got" = "$3" ]
}
