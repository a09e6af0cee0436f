# What the service firewall's scenarios share.
. "$(dirname "$0")/../agent/lib.sh"

on() { $LAB exec node-one "$@"; }

listen() { # listen PORT…: a program of the host that listens on all addresses, over TCP and UDP, and answers "host"
  on python3 - "$@" <<'PYTHON' &
import select, socket, sys
tcp, udp = [], []
for port in map(int, sys.argv[1:]):
    for kind, group in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
        s = socket.socket(socket.AF_INET6, kind)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            s.listen(64)
        group.append(s)
while True:
    for s in select.select(tcp + udp, [], [])[0]:
        if s in udp:
            s.sendto(b"host\n", s.recvfrom(100)[1])
        else:
            c = s.accept()[0]
            c.sendall(b"host\n")
            c.close()
PYTHON
  local i
  for i in $(seq 50); do
    [ "$(on sh -c "ss -Hlnt | grep -c ':${!#} '")" != 0 ] && return
    sleep 0.1
  done
  fail "a program of the host listens" "$(on ss -lntu)"
}

results() { # results PROTOCOL PORT FROM… -- ADDRESS…: "FROM ADDRESS RESULT" lines, sorted; at once is under half a second
  local protocol=$1 port=$2 from to senders=()
  shift 2
  while [ "$1" != -- ]; do
    senders+=("$1")
    shift
  done
  shift
  for from in "${senders[@]}"; do
    for to in "$@"; do
      printf '{"from":"%s","to":"%s","port":%s,"protocol":"%s","timeoutMs":1500}\n' "$from" "$to" "$port" "$protocol"
    done
  done | $LAB probe |
    jq -r '[.from, .to, .result, (.answer // "" | split(" ")[0] // ""), if .result == "refused" and .ms > 500 then "late" else "" end]
      | join(" ") | gsub(" +"; " ") | sub(" $"; "")' | sort
}

every() { # every RESULT FROM… -- ADDRESS…: the lines of `results` when all have this one
  local result=$1 from to senders=()
  shift
  while [ "$1" != -- ]; do
    senders+=("$1")
    shift
  done
  shift
  for from in "${senders[@]}"; do
    for to in "$@"; do echo "$from $to $result"; done
  done | sort
}

members() { # members SET: the members of a set on node one, sorted, as ipset prints them
  local family=ip
  if [ "${NETFILTER-}" != nftables ]; then
    on ipset list "$1" | sed '1,/^Members:/d' | sed 's/ timeout 0$//' | sort
    return
  fi
  [ "${1#inet6:}" = "$1" ] || family=ip6
  on nft list set $family routelet "${1#inet6:}" | tr -d '\n\t' | sed -n 's/.*elements = {\([^}]*\)}.*/\1/p' | tr ',' '\n' |
    sed 's/^ *//; s/ *$//; s/ \. \(tcp\|udp\|sctp\) \. \([0-9]*\)/,\1:\2/; s/ \. /,/' | sort
}
