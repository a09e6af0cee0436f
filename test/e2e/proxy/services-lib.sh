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

add_service() { # the Service "added", whose cluster IPs lie in ranges of no flag
  $LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: added, namespace: default }
spec:
  clusterIPs: [10.200.0.1, "fd00:200::1"]
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: http }]
YAML
  settle
}

all_addresses() { # all_addresses HOW: every address answers, to whoever may ask
  local vip from
  for vip in 10.96.1.1 fd00:96::1 203.0.113.10 fd00:203::10 198.51.100.10 fd00:198::10; do
    for from in pod-default-client node-one; do
      reached "$1: $from reaches $vip by TCP" $from TCP $vip 80 "$BOTH"
      reached "$1: $from reaches $vip by UDP" $from UDP $vip 53 "$BOTH"
    done
  done
  for vip in 203.0.113.10 fd00:203::10 198.51.100.10 fd00:198::10; do
    reached "$1: outside reaches $vip" client-outside TCP $vip 80 "$BOTH"
  done
  for vip in 192.168.50.11 fd00:50::11; do
    reached "$1: outside reaches the node port at $vip" client-outside TCP $vip 30080 "$BOTH"
  done
  for vip in 10.96.1.1 203.0.113.10 198.51.100.10; do
    expect "$1: the node's own source for $vip is its address" "$(ask node-one $vip 80 4 | seen_as)" "192.168.50.11"
  done
  for vip in fd00:96::1 fd00:203::10 fd00:198::10; do
    expect "$1: the node's own source for $vip is its address" "$(ask node-one $vip 80 4 | seen_as)" "fd00:50::11"
  done
}
