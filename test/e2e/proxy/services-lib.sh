# What the scenarios of Services share.
. "$(dirname "$0")/../agent/lib.sh"

BOTH="2 default/a-1
2 default/b-1"

vips() { # vips NODE: addresses on the VIP link, without Linux's own
  $LAB exec "node-$1" ip -o addr show dev kube-dummy-if | awk '$4 !~ /^fe80/ { print $4 }' | sort
}

has_vip() { vips "$1" | grep -qxF "$2"; }

services() { # services NODE: the virtual services, "TCP 10.0.0.1:80", sorted
  ipvs "$1" | awk '/^(TCP|UDP|SCTP) / { print $1, $2 }' | sort
}

has_service() { services "$1" | grep -qxF "$2"; }

holds() { # holds DESCRIPTION COMMAND…
  local description=$1
  shift
  "$@" || fail "$description" "$(services one; vips one)"
  pass "$description"
}

lacks() { # lacks DESCRIPTION COMMAND…
  local description=$1
  shift
  "$@" && fail "$description" "$(services one; vips one)"
  pass "$description"
}

problem() { # problem DESCRIPTION PATTERN: node one's status says so
  $LAB run one -- status | grep -qE "$2" || fail "$1" "$($LAB run one -- status)"
  pass "$1"
}

reached() { # reached DESCRIPTION FROM PROTOCOL ADDRESS PORT WANTED
  expect "$1" "$(probe_all "$2" "$3" 4 "$4" "$5")" "$6"
}

slice() { # slice NAME SERVICE ENDPOINTS [PORT]: applies a slice of IPv4 endpoints; ENDPOINTS as YAML
  $LAB apply - <<YAML
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: $1, namespace: default, labels: { kubernetes.io/service-name: $2 } }
addressType: IPv4
ports: [{ name: http, protocol: TCP, port: ${4:-8080} }]
endpoints: $3
YAML
}
