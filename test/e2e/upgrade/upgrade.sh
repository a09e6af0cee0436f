#!/usr/bin/env bash
# Agents are stopped, killed, replaced by another version with mv and back again, under flows of every sort: nothing is lost.
# NEXT: the executable of the other version.
. "$(dirname "$0")/../agent/lib.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
on() { local node=$1; shift; $LAB exec "node-$node" "$@"; }
BIN=/tmp/routelet-upgrade.$$
cp "$LAB_ROUTELET" $BIN
NODES="one two"
$LAB agent executable one $BIN
$LAB agent executable two $BIN
settle
for pod in near far; do $LAB exec pod-default-$pod python3 "$HERE/flows.py" serve & done
serve() { $LAB exec pod-default-$1 ss -Hlntu | grep -c ':9000 '; }
served() { [ "$(serve near) $(serve far)" = "3 3" ]; }
within 30 "the servers listen" served

flows() { python3 "$HERE/flows.py" "$LAB_OUT" "$@" & }
trap 'touch "$LAB_OUT/enough"' EXIT
flows pod-default-client \
  {tcp,udp},{10.96.0.10,fd00:96::10},9000 {tcp,udp},10.244.2.6,9000 \
  icmp,{10.244.2.6,fd00:244:2::6,10.244.1.6,10.96.0.10,10.2.0.12} new,{10.96.0.10,fd00:96::10},80
inside=$!
flows client-outside {tcp,udp},{10.1.0.11,fd00:1::11},30900 icmp,{10.1.0.11,fd00:1::11} new,{10.1.0.11,fd00:1::11},30080
outside=$!
answers() { sort -n "$LAB_OUT/flows-$1" 2>/dev/null | awk 'NR == 1 { print $1 }'; }
go_on() { # go_on DESCRIPTION: every flow has 20 more answers
  local client from to i
  for client in pod-default-client client-outside; do
    from=$(answers $client)
    for ((i = 0; i < 600; i++)); do
      to=$(answers $client)
      [ "${to:-0}" -lt $((${from:-0} + 20)) ] || continue 2
      sleep 0.05
    done
    fail "$1 ($client)" "$(cat "$LAB_OUT/flows-$client")"
  done
  pass "$1"
}
version() { $LAB run $1 -- status --output json | jq -r .version; }

go_on "every flow is answered"
$LAB agent stop $NODES
go_on "while no agent runs, all go on"
$LAB agent start $NODES
settle
go_on "and when they are started again"

now=$(version one)
cp "$NEXT" $BIN.next
mv $BIN.next $BIN
expect "an agent whose executable was replaced goes on as it is" "$(version one)" "$now"
go_on "and so do the flows"
$LAB agent restart one
$LAB agent kill two
$LAB agent start two
settle
[ "$(version one)" = "$(version two)" ] && [ "$(version one)" != "$now" ] || fail "both run the other version" "$(version one) $(version two)"
pass "both run the other version: $(version one)"
go_on "with all flows"
cp "$LAB_ROUTELET" $BIN.next
mv $BIN.next $BIN
$LAB agent kill $NODES
go_on "when both were killed"
$LAB agent start $NODES
settle
expect "and back" "$(version one) $(version two)" "$now $now"
go_on "with all flows"

touch "$LAB_OUT/enough"
wait $inside && wait $outside || fail "the clients ran" ""
rm -f $BIN
cat "$LAB_OUT"/lost-*
expect "nothing is lost" "$(awk '$2 != 0' "$LAB_OUT"/lost-*)" ""
expect "and nothing is planned" "$($LAB run one -- plan 2>&1; $LAB run two -- plan 2>&1)" ""
