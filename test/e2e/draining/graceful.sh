#!/usr/bin/env bash
# --ipvs-graceful-termination: connections go on at weight 0 until the grace period is over, over a restart as well; new ones go elsewhere.
. "$(dirname "$0")/lib.sh"
LONG="TCP $VIP4:9000"

service
for i in 1 2 3; do pod $i; done | $LAB apply -
for i in 1 2 3; do echo_server $i; done
settle
sleep 1

talk first pod-default-client $VIP4 9000
one=$(partner first); one=${one#web-}
[ -n "$one" ] || fail "a long connection is made" "$(cat "$LAB_OUT/first.error")"
others=$(printf '%s\n' 1 2 3 | grep -v "$one" | head -1)

# Terminating: the pod goes on serving, and so does its connection.
# The time is long enough for the restart on a busy machine.
start=$(date +%s)
pod $one True "$TERMINATING" 25 | $LAB apply -
settle
expect "a terminating pod with a connection gets weight 0" "$(weight "$LONG" $one)" 0
goes_on first "its connection goes on"
answers=$(ask pod-default-client $VIP4 80 12 | answered_by)
grep -q "web-$one" <<<"$answers" && fail "it gets no new connections" "$answers"
pass "it gets no new connections"
plan_is_empty "the plan is empty while it drains"

$LAB agent kill one
$LAB agent start one
settle
expect "a restarted agent goes on with it" "$(weight "$LONG" $one)" 0
goes_on first "its connection goes on over the restart"
plan_is_empty "the restarted agent plans nothing"

within 40 "it goes when its grace period is over" weight_is "$LONG" $one ""
took=$(($(date +%s) - start))
[ $took -ge 24 ] && [ $took -le 40 ] || fail "25 s are kept, over the restart" "$took s"
pass "25 s are kept, over the restart"
touch "$LAB_OUT/first.end"

# An endpoint that comes back.
talk second pod-default-client $VIP4 9000
two=$(partner second); two=${two#web-}
pod $two False "" 4 | $LAB apply -
settle
expect "a pod that is not ready any more gets weight 0" "$(weight "$LONG" $two)" 0
pod $two True "" 4 | $LAB apply -
settle
expect "it gets weight 1 when it is ready again" "$(weight "$LONG" $two)" 1
sleep 7
expect "it stays, whatever its time was" "$(weight "$LONG" $two)" 1
goes_on second "its connection never noticed"

# Nothing uses it: no need to wait.
idle=$(printf '%s\n' 1 2 3 | grep -v -e "$one" -e "$two")
pod $idle False "" 20 | $LAB apply -
settle
within 10 "an idle destination goes at once" weight_is "$LONG" $idle ""

# The whole Service goes: what its connections stand on stays as long.
# Long enough for the restart on a busy machine.
pod $two True "" 25 | $LAB apply -
settle
goes_on second "the connection is there"
$LAB delete - <<YAML
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
YAML
settle
expect "a deleted Service drains" "$(weight "$LONG" $two)" 0
goes_on second "its connections go on"
plan_is_empty "the plan is empty while it drains"
# IPVS has nowhere to send it.
expect "nothing new gets in" "$(ask pod-default-client $VIP4 9000 1 | answered_by)" "1 refused"
$LAB agent kill one
$LAB agent start one
settle
goes_on second "its connections go on over a restart"
gone() { [ -z "$(ipvs_service one "$LONG")" ]; }
within 60 "the Service goes with its last destination" gone
no_vip() { ! on ip -o addr show dev kube-dummy-if | grep -q "$VIP4/"; }
within 40 "and its address with the last connection of all its ports" no_vip
plan_is_empty "nothing is left to do"
touch "$LAB_OUT/second.end"
