#!/usr/bin/env bash
# Without --ipvs-graceful-termination: as with kube-proxy, connections go on for as long as the endpoint is listed as terminating.
. "$(dirname "$0")/lib.sh"
LONG="TCP $VIP4:9000"
$LAB agent flags one --
$LAB agent restart one

service
for i in 1 2; do pod $i; done | $LAB apply -
for i in 1 2; do echo_server $i; done
settle
sleep 1
talk first pod-default-client $VIP4 9000
one=$(partner first); one=${one#web-}
other=$((3 - one))
pod $one True "$TERMINATING" 2 | $LAB apply -
settle
expect "a terminating endpoint has weight 0" "$(weight "$LONG" $one)" 0
answers=$(ask pod-default-client $VIP4 80 6 | answered_by)
expect "new connections go to the others" "$answers" "6 default/web-$other"
$LAB agent restart one
settle
goes_on first "its connection goes on"
sleep 2
goes_on first "and on, while the endpoint is listed"
plan_is_empty "the plan is empty"

# The last one: better a terminating endpoint than none.
pod $other False | $LAB apply -
settle
answers=$(ask pod-default-client $VIP4 80 6 | answered_by)
expect "without a ready endpoint the terminating one serves" "$answers" "6 default/web-$one"

pod $other True | $LAB apply -
pod $one | $LAB delete -
settle
expect "an endpoint that is gone is gone" "$(weight "$LONG" $one)" ""
touch "$LAB_OUT/first.end"
