#!/usr/bin/env bash
# UDP clients that go on sending from one port move to a living endpoint when theirs is gone, and those of living endpoints are left alone.
. "$(dirname "$0")/lib.sh"

sender() { # sender NAME NETNS ADDRESS PORT SOURCE-PORT: a datagram every 50 ms; who answered goes to NAME.log
  python3 - "$LAB_OUT" "$@" <<'PYTHON' &
import ctypes, os, socket, sys, time
out, name, netns, address, port, source = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
for folder in ("/run/netns", "/var/run/netns"):
    if os.path.exists(f"{folder}/{netns}"):
        if libc.setns(os.open(f"{folder}/{netns}", os.O_RDONLY), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        break
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("::" if ":" in address else "0.0.0.0", int(source)))
s.settimeout(0.5)
while not os.path.exists(f"{out}/enough"):
    try:
        s.sendto(b"?", (address, int(port)))
        who = s.recvfrom(200)[0].decode().split()[0]
    except OSError as error:
        who = "nobody"
    with open(f"{out}/{name}.log", "a") as f:
        f.write(who + "\n")
    time.sleep(0.05)
PYTHON
}
state() { # state NAME: what Linux knows of the flows, for a failure's report
  tail -3 "$LAB_OUT/$1.log"
  date; for p in $(pgrep python3); do echo "$p $(tr '\0' ' ' </proc/$p/cmdline | cut -c1-90) $(cat /proc/$p/wchan) $(cut -d' ' -f3 /proc/$p/stat) $(cat /proc/$p/syscall)"; cat /proc/$p/stack; done
  on conntrack -L -p udp -o id
  on conntrack -L -p udp -f ipv6 -o id
  on ipvsadm -Lnc | grep -E 'UDP|pro '
  on ipvsadm -Ln | grep -A3 UDP
}
answers() { # answers NAME POD SECONDS DESCRIPTION: that pod answers within the time
  local deadline=$(($(date +%s) + $3))
  until [ "$(last "$1")" = "$2" ]; do
    [ "$(date +%s)" -lt $deadline ] || fail "$1 $4" "$(state "$1" 2>&1)"
    sleep 0.05
  done
  pass "$1 $4"
}
last() { tail -1 "$LAB_OUT/$1.log" 2>/dev/null; }
flow() { on conntrack -L -f "$1" -p udp --orig-port-src "$2" -o id 2>/dev/null; }
flow_id() { flow "$@" | sed 's/.*id=//'; }
no_flow() { [ -z "$(flow "$@")" ]; }

service
pod 1 | $LAB apply -
settle
sender vip pod-default-client $VIP4 53 41001
sender vip6 pod-default-client $VIP6 53 41002
sender port client-outside 192.168.50.11 30053 41003
senders="vip vip6 port"
for name in $senders; do answers $name default/web-1 30 "is served"; done

# One goes, another comes: everybody moves.
{ pod 2; pod 1 False; } | $LAB apply -
settle
for name in $senders; do answers $name default/web-2 10 "moves to the new endpoint"; done

# One of two goes: only its clients move.
pod 1 True | $LAB apply -
settle
vip=$(flow_id ipv4 41001); vip6=$(flow_id ipv6 41002); port=$(flow_id ipv4 41003)
[ -n "$vip" ] && [ -n "$vip6" ] && [ -n "$port" ] || fail "flows are known" "$(on conntrack -L 2>&1)"
pod 3 | $LAB apply -
settle
pod 3 | $LAB delete -
settle
pod 1 False | $LAB apply -
settle
sleep 1
expect "flows of living endpoints are left alone" "$(flow_id ipv4 41001) $(flow_id ipv6 41002) $(flow_id ipv4 41003)" "$vip $vip6 $port"

# None, then one again.
pod 2 False | $LAB apply -
settle
for name in $senders; do answers $name nobody 10 "reaches nobody without endpoints"; done
within 10 "no flow to a pod that is gone is left" no_flow ipv4 41001
pod 1 True | $LAB apply -
settle
for name in $senders; do answers $name default/web-1 10 "is served again"; done

# What another proxy left: a flow that conntrack translates to a pod that is gone, before IPVS sees it.
$LAB agent stop one
vip=$(flow_id ipv4 41001)
on conntrack -I -p udp -s 10.244.1.250 -d $VIP4 --sport 41009 --dport 53 --dst-nat 10.244.2.77:5353 --timeout 600 >/dev/null 2>&1 ||
  fail "a leftover can be made" ""
on conntrack -I -p udp -s 10.244.1.250 -d 203.0.113.9 --sport 41010 --dport 53 --dst-nat 10.244.2.77:5353 --timeout 600 >/dev/null 2>&1
no_flow ipv4 41009 && fail "a leftover is there" "$(on conntrack -L 2>&1)"
$LAB agent start one
settle
within 10 "a start deletes leftovers" no_flow ipv4 41009
expect "a start leaves living flows alone" "$(flow_id ipv4 41001)" "$vip"
no_flow ipv4 41010 && fail "flows to what is no Service are not touched" "$(on conntrack -L 2>&1)"
pass "flows to what is no Service are not touched"

$LAB delete - <<YAML
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
YAML
settle
to_pod() { flow ipv4 41001 | grep -q "src=$(address 1) "; }
not_to_pod() { ! to_pod; }
within 10 "a deleted Service leaves no flow behind" not_to_pod
touch "$LAB_OUT/enough"
