# What the scenarios of endpoints that go share.
. "$(dirname "$0")/../agent/lib.sh"
on() { $LAB exec node-one "$@"; }

VIP4=10.96.1.1
VIP6=fd00:96::1

service() { # service: one Service on both families, TCP and UDP, with NodePorts
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec:
  type: NodePort
  clusterIP: $VIP4
  clusterIPs: [$VIP4, "$VIP6"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  selector: { app: web }
  ports:
    - { name: http, port: 80, targetPort: 8080, nodePort: 30080 }
    - { name: long, port: 9000, targetPort: 9000, nodePort: 30900 }
    - { name: dns, protocol: UDP, port: 53, targetPort: 5353, nodePort: 30053 }
YAML
}

pod() { # pod NUMBER [READY [METADATA [GRACE]]]: pod web-NUMBER; odd ones on node one
  local node=two subnet=2
  if [ $(($1 % 2)) = 1 ]; then node=one subnet=1; fi
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: { name: web-$1, namespace: default, labels: { app: web }${3:+, $3} }
spec:
  nodeName: $node
  terminationGracePeriodSeconds: ${4:-30}
  containers: [{ name: web, ports: [{ name: http, containerPort: 8080 }, { name: dns, containerPort: 5353, protocol: UDP }] }]
status:
  phase: Running
  podIPs: [{ ip: 10.244.$subnet.$((100 + $1)) }, { ip: "fd00:244:$subnet::$((100 + $1))" }]
  conditions: [{ type: Ready, status: "${2:-True}" }]
YAML
}

TERMINATING='deletionTimestamp: "2030-01-01T00:00:00Z"'

address() { # address NUMBER: of pod web-NUMBER
  echo "10.244.$((2 - $1 % 2)).$((100 + $1))"
}

weight() { # weight SERVICE NUMBER [PORT]: of the pod's destination; empty where there is none
  ipvs_service one "$1" | awk -v to="$(address "$2"):${3:-9000}" '$1 == to { print $3 }'
}

weight_is() { [ "$(weight "$1" "$2")" = "$3" ]; }

plan_is_empty() { # plan_is_empty DESCRIPTION
  local text
  text=$($LAB run one -- plan 2>&1) || fail "$1" "$text"
  expect "$1" "$text" ""
}

talk() { # talk NAME NETNS ADDRESS PORT: opens a connection and sends one line a tenth of a second until the file NAME.end is there
  python3 - "$LAB_OUT/$1" "$2" "$3" "$4" <<'PYTHON' &
import ctypes, os, socket, sys, time
name, netns, address, port = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
for folder in ("/run/netns", "/var/run/netns"):
    if os.path.exists(f"{folder}/{netns}"):
        if libc.setns(os.open(f"{folder}/{netns}", os.O_RDONLY), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        break
count = 0
try:
    with socket.create_connection((address, int(port)), 5) as s:
        while not os.path.exists(f"{name}.end"):
            s.sendall(b"?")
            answer = s.recv(100)
            if not answer:
                raise OSError("closed")
            count += 1
            with open(f"{name}.new", "w") as f:
                f.write(f"{answer.decode()} {count}\n")
            os.rename(f"{name}.new", f"{name}.state")
            time.sleep(0.1)
except OSError as error:
    with open(f"{name}.error", "w") as f:
        f.write(f"after {count}: {error}\n")
PYTHON
}

echo_server() { # echo_server NUMBER: answers every byte on port 9000 with the pod's name, for ever
  $LAB exec "pod-default-web-$1" python3 - "web-$1" <<'PYTHON' &
import socket, sys, threading
def serve(c):
    try:
        while c.recv(100):
            c.sendall(sys.argv[1].encode())
    except OSError:
        pass
s = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
PYTHON
  local i
  for ((i = 0; i < 300; i++)); do
    $LAB exec "pod-default-web-$1" ss -Hlnt 2>/dev/null | grep -q ':9000 ' && return
    sleep 0.1
  done
  fail "web-$1 listens" ""
}

partner() { # partner NAME: the pod at the other end, once it is known
  local i
  for ((i = 0; i < 100; i++)); do
    [ -s "$LAB_OUT/$1.state" ] && break
    sleep 0.05
  done
  awk '{ print $1 }' "$LAB_OUT/$1.state" 2>/dev/null
}

goes_on() { # goes_on NAME DESCRIPTION: the connection lives
  local before after
  before=$(awk '{ print $2 }' "$LAB_OUT/$1.state")
  sleep 1.2
  after=$(awk '{ print $2 }' "$LAB_OUT/$1.state")
  [ ! -e "$LAB_OUT/$1.error" ] || fail "$2" "$(cat "$LAB_OUT/$1.error")"
  [ "$after" -gt "$before" ] || fail "$2" "silent after $before"
  pass "$2"
}
