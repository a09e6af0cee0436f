#!/bin/bash
# VIPs by policy and annotation, and what becomes of them and of a client's requests when agents are killed, hang or stop.
. "$(dirname "$0")/lib.sh"

to_r1() { # to_r1 NODE [PASSWORD]
  annotate "$1" peers "[{remoteip: 10.129.6.91, remoteasn: 64513${2:+, password: $(printf "$2" | base64)}}]"
}
to_r1 node01 s3cret
to_r1 node02 first
to_r1 node03
everybody() { established node01 R1 node02 node03 && established node02 R1 node01 node03 && established node03 R1 node01 node02; }
until_true "all nodes have sessions with R1 and each other" everybody
until_true "R1 has the VIP of a Cluster policy from all" in_r1 10.33.1.11/32 node01 node02 node03

# A Local policy: only from nodes with a ready endpoint. Two Services share the address.
service() { # service NAME PORT APP
  cat <<YAML
apiVersion: v1
kind: Service
metadata: { name: $1, namespace: default }
spec: { clusterIP: 10.96.1.$2, externalIPs: [10.33.1.12], externalTrafficPolicy: Local, selector: { app: $3 }, ports: [{ port: $2, targetPort: 80 }] }
YAML
}
pod_a() { # pod_a READY
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: { name: a, namespace: default, labels: { app: web } }
spec: { nodeName: node01, containers: [{ name: web, ports: [{ containerPort: 80 }] }] }
status: { podIP: 10.244.0.5, conditions: [{ type: Ready, status: "$1" }] }
YAML
}
service one 80 web | $LAB apply - >/dev/null
until_true "one of a Local policy comes from nodes with an endpoint" in_r1 10.33.1.12/32 node01 node02
by_r1() { # the client's own address arrives, by R1: the answer's third word
  [ "$(probe client-outside 10.33.1.12 | cut -d' ' -f1,4)" = "ok 10.129.6.200" ]
}
until_true "a client behind R1 reaches it with its own address, and the policy lets it in" by_r1
pod_a False | $LAB apply - >/dev/null
until_true "when the last endpoint of a node is not ready, the node withdraws it" in_r1 10.33.1.12/32 node02
until_true "and the other one serves" by_r1
pod_a True | $LAB apply - >/dev/null
until_true "when it is ready again, it is announced again" in_r1 10.33.1.12/32 node01 node02
service two 81 other | $LAB apply - >/dev/null
until_true "a second Service with that address brings its node" in_r1 10.33.1.12/32 node01 node02 node03
service one 80 web | $LAB delete - >/dev/null
until_true "when the first goes, the second's node stays" in_r1 10.33.1.12/32 node03
service one 80 other | $LAB apply - >/dev/null
service two 81 other | $LAB delete - >/dev/null
$LAB wait >/dev/null || fail "the agents did not settle" ""
expect "one that changed hands never went" "$(in_r1 10.33.1.12/32 node03)" "R1 has 10.33.1.12/32 from: node03 "
service one 80 other | $LAB delete - >/dev/null
until_true "when both have gone, it has gone" in_r1 10.33.1.12/32

# Annotations of a Service go before flags.
web() { # web ANNOTATIONS
  cat <<YAML
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default, annotations: { $1 } }
spec: { clusterIP: 10.96.0.10, externalIPs: [10.33.1.11], selector: { app: web }, ports: [{ port: 80 }] }
YAML
}
web 'kube-router.io/service.advertise.clusterip: "false"' | $LAB apply - >/dev/null
until_true "an annotation takes the ClusterIP out" in_r1 10.96.0.10/32
until_true "and nothing else" in_r1 10.33.1.11/32 node01 node02 node03
web 'kube-router.io/service.advertise.clusterip: "perhaps"' | $LAB apply - >/dev/null
until_true "one that cannot be read is said, at the Service" has_problem node01 '"perhaps"; allowed are "true" and "false"'
expect "and counts as false" "$(in_r1 10.96.0.10/32)" "R1 has 10.96.0.10/32 from: "
web '' | $LAB apply - >/dev/null
until_true "without it the flag holds" in_r1 10.96.0.10/32 node01 node02 node03
service one 80 web | $LAB apply - >/dev/null
until_true "the Local VIP is back" in_r1 10.33.1.12/32 node01 node02

# 200 requests a second through R1, each a connection of its own, to a Cluster and a Local VIP.
rm -f "$LAB_OUT/enough"
cat >"$LAB_OUT/asker.py" <<'PY'
import os, selectors, socket, sys, time
out, vips = sys.argv[1], sys.argv[2:]
poll, open_, sent, answered, lost = selectors.DefaultSelector(), {}, 0, 0, []
start = last = time.monotonic()
# Its own time, in which a pause of the whole machine is short: it neither makes up for it nor counts it against an answer.
now = 0
while not os.path.exists(f"{out}/enough") or open_:
    now += min(time.monotonic() - last, 0.1)
    last = time.monotonic()
    while not os.path.exists(f"{out}/enough") and sent < 200 * now:
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((vips[sent % len(vips)], 80))
        open_[s] = (now, vips[sent % len(vips)])
        poll.register(s, selectors.EVENT_WRITE)
        sent += 1
    for key, events in poll.select(0.005):
        s = key.fileobj
        try:
            if events & selectors.EVENT_WRITE:
                s.sendall(b"?\n")
                poll.modify(s, selectors.EVENT_READ)
                continue
            if not s.recv(200).startswith(b"default/"):
                raise OSError("no answer")
            answered += 1
        except OSError as error:
            lost.append(f"{open_[s][1]} {error}")
        poll.unregister(s)
        s.close()
        del open_[s]
    for s, (at, vip) in list(open_.items()):
        if now - at > 5:
            lost.append(f"{vip} no answer within 5 s, sent at {at:.1f}")
            poll.unregister(s)
            s.close()
            del open_[s]
open(f"{out}/requests", "w").write(f"{sent} sent, {answered} answered, {len(lost)} lost in {time.monotonic() - start:.0f} s {lost[:5]}")
PY
$LAB exec client-outside python3 "$LAB_OUT/asker.py" "$LAB_OUT" 10.33.1.11 10.33.1.12 &
asker=$!
trap 'touch "$LAB_OUT/enough"' EXIT
# Linux says of each change of a route: none that a client needs may be away for a moment.
watch() { # watch NAME NETNS: into routes-NAME, until it is told to stop
  $LAB exec "$2" sh -c 'echo $$ >"$1.pid"; exec ip -o -4 monitor route >"$1" 2>/dev/null' sh "$LAB_OUT/routes-$1" &
  listens() {
    $LAB exec "$2" sh -c 'ip route add blackhole 203.0.113.1; ip route del 203.0.113.1'
    grep 203.0.113.1 "$LAB_OUT/routes-$1"
  }
  until_true "changes of routes of $1 are noted" listens "$1" "$2"
}
unwatch() { cat "$LAB_OUT"/routes-*.pid | xargs kill 2>/dev/null; }
trap 'touch "$LAB_OUT/enough"; unwatch' EXIT
watch R1 router-R1
for n in $NODES; do watch $n "node-$n"; done
noticed() { # noticed NODE…: R1 has no session with these
  local n got
  for n in "$@"; do
    got=$(r1 show protocols "$n")
    echo "$got"
    ! grep -q Established <<<"$got" || return 1
  done
}
for killed in node01 node02 "$NODES"; do
  $LAB agent kill $killed
  until_true "R1 has lost its session with $killed, where agents were killed" noticed $killed
  in_r1 10.33.1.11/32 $NODES >"$LAB_OUT/kept" || fail "R1 lost a route" "$(cat "$LAB_OUT/kept")"
  pass "and keeps all routes"
  $LAB agent start $killed
  until_true "all sessions are Established again" everybody
  until_true "and R1 has the routes anew" in_r1 10.33.1.12/32 node01 node02
done
$LAB agent flags node03 -- --bgp-graceful-restart-time=10s
$LAB agent restart node03
until_true "one that is stopped and started" everybody
confirmed() { # End-of-RIB has come from all, and nothing waits for it
  local n
  for n in $NODES; do
    neighbors $n | jq -e 'all(.neighbors[]; .prefixes["4"].endOfRib and .prefixes["4"].stale == 0)' || return 1
  done
}
until_true "everybody has told all" confirmed
touch "$LAB_OUT/enough"
wait $asker || fail "the client ran" ""
requests=$(cat "$LAB_OUT/requests")
[[ $requests =~ ^[1-9][0-9]{3,}\ sent,\ [0-9]+\ answered,\ 0\ lost ]] || fail "requests were lost" "$requests"
pass "no request was lost: $requests"
unwatch
for n in R1 $NODES; do
  ! grep -E 'proto (bird|202)' "$LAB_OUT/routes-$n" | grep Deleted >"$LAB_OUT/deleted" ||
    fail "a route of $n was away" "$(cat "$LAB_OUT/deleted")"
done
! grep -E '^10.33.1.11 ' "$LAB_OUT/routes-R1" | grep -vE '(via 10.129.6.21[123] .*){3}' >"$LAB_OUT/fewer" ||
  fail "R1 had fewer ways to the VIP" "$(cat "$LAB_OUT/fewer")"
pass "and no route of R1 or a node was away for a moment"

# One that stays away is given up after its restart time.
start=$(date +%s)
$LAB agent kill node03
until_true "a killed agent that does not come back is given up" in_r1 10.33.1.11/32 node01 node02
kept=$(($(date +%s) - start))
[ $kept -ge 9 ] || fail "R1 gave it up after $kept s, before the restart time of 10 s" ""
pass "after its restart time"
until_true "its pods too, by the nodes" route_is node01 10.244.2.0/24 ""
$LAB agent start node03
until_true "and is back when it is" in_r1 10.33.1.11/32 node01 node02 node03

# Without graceful restart routes go with the session: at once when an agent is killed or stops, by hold time when it hangs.
$LAB agent flags node03 -- --bgp-graceful-restart=false --bgp-holdtime=9s
$LAB agent restart node03
until_true "all nodes have sessions with R1 and each other" everybody
until_true "R1 has the VIP from all" in_r1 10.33.1.11/32 node01 node02 node03
soon() { # soon DESCRIPTION COMMAND…: within 3 s
  local i out=''
  local what=$1
  shift
  for ((i = 0; i < 12; i++)); do
    out=$("$@" 2>&1) && { pass "$what"; return; }
    sleep 0.25
  done
  fail "$what" "$out"
}
watch node03 node-node03
$LAB agent kill node03
soon "the routes of a killed agent go at once" in_r1 10.33.1.11/32 node01 node02
$LAB agent start node03
until_true "and come back with it" in_r1 10.33.1.11/32 node01 node02 node03
until_true "when everybody has told all" confirmed
expect "its own ways to others were there all the time" "$(grep Deleted "$LAB_OUT/routes-node03" | grep 'proto 202')" ""
unwatch
$LAB agent stop node03
soon "so do those of one that stops" in_r1 10.33.1.11/32 node01 node02
has "which says so" "$(r1 show protocols all node03)" "the agent stops"
$LAB agent start node03
until_true "and come back with it" in_r1 10.33.1.11/32 node01 node02 node03
pid=$(pgrep -f -- '--hostname-override=node03' | head -n 1)
kill -STOP "$pid" || fail "the agent of node03 is not found" "$(pgrep -af hostname-override)"
until_true "those of one that hangs go when its hold time is over" in_r1 10.33.1.11/32 node01 node02
kill -CONT "$pid"
until_true "and come back when it goes on" in_r1 10.33.1.11/32 node01 node02 node03
