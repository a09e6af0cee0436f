#!/usr/bin/env bash
# Bad plugins: each is named with one clear reason, the agent stays ready, and nothing of the others is disturbed.
. "$(dirname "$0")/lib.sh"

asks_web() { ask pod-default-client 10.96.1.1 80 5 | answered_by; }
errors() { # errors PLUGIN [TEXT]: lines of the agent's log that complain of it
  $LAB agent logs one | grep -E "(ERROR|WARN)" | grep -F -- "${2:-}" | grep -cE "plugin\"?[=:]\"?$1(\"| |$)"
}

agent_ready
expect "the proxy serves" "$(asks_web)" "5 default/web-1"
add ban
plugin_is ban ready

pod() { printf 'apiVersion: v1\nkind: Pod\nmetadata: { name: %s, namespace: default, labels: { ban: "%s" } }\nspec: { nodeName: two, containers: [{ name: shell }] }\nstatus: { phase: Running, podIPs: [{ ip: %s }] }\n' "$1" "$2" "$3"; }
# One that takes memory without end: its process is ended, what it wanted stays, and the agent does not grow.
add bad/hungry
plugin_is hungry ready
agent=$(pgrep -f -- '--hostname-override=one' | head -n 1)
own() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$agent/status"; }
feast_route() { $LAB exec node-one ip route show table 5555 2>/dev/null | grep -q 10.5.5.5; }
within 10 "the plugin that will eat has its route" feast_route
before=$(own)
pod feast false 10.244.2.71 | $LAB apply -
# Asked for seldom: page faults are slow here, and every question takes the only processor from what eats.
ate="it took more than 512 MiB of memory, and its process was ended; look for what it keeps and never lets go"
for _ in $(seq 60); do $LAB agent logs one | grep -q "plugin=hungry.*$ate" && break || sleep 1; done
$LAB agent logs one | grep -q "plugin=hungry.*$ate" || fail "a plugin that takes all memory is ended" "$($LAB agent logs one | tail; ps aux)"
pass "a plugin that takes all memory is ended, and told of"
feast_route || fail "what it wanted before stays" "$(status)"
[ "$(own)" -lt $((before + 64)) ] || fail "the agent had $before MiB before" "$(own) MiB"
pass "the agent's own memory is as before"
pod feast false 10.244.2.71 | $LAB delete -
has "it is ready when one ate" "$(status)" ': ready'
expect "and the proxy serves" "$(asks_web)" "5 default/web-1"
plugin_is hungry ready

for name in throws-at-load throws-in-setup throws-in-desired other-api wants-vip loops writable; do add "bad/$name"; done
chmod o+w $PLUGINS/writable.ts
plugin_is throws-at-load degraded "This host has no such device"
plugin_is throws-in-setup degraded "No device mux0 here"
plugin_is other-api degraded "made for plugin API 2, this agent speaks 1; take a release that fits"
plugin_is writable degraded "it can be written by others than its owner, and plugins run as root; run chmod go-w"
plugin_is throws-in-desired ready
plugin_is wants-vip ready
plugin_is loops ready
problem() { $LAB run one -- status --output=json | jq -r --arg n "$1" '.plugins[] | select(.name == $n) | .problems[].reason'; }
within 10 "what desired throws is a problem of its unit" eval '[ "$(problem throws-in-desired)" = "Cannot make anything of pod web-1" ]'
within 10 "a key of another plugin is refused" eval 'problem wants-vip | grep -q "plugin \"proxy\" holds it"'

# It came first, and lets go of the address when a Service gets it.
has "a free key is its own" "$(ipvs one)" '^TCP +10.96.9.9:80 rr'
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: later, namespace: default }\nspec: { clusterIP: 10.96.9.9, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }\n' | $LAB apply -
serves_later() { [ "$(ask pod-default-client 10.96.9.9 80 1 | answered_by)" = "1 default/web-1" ]; }
within 20 "a Service gets its address from a plugin that had it" serves_later
expect "and no plugin has a conflict" "$($LAB run one -- status --output=json | jq -r '.plugins[] | select(.name == "proxy") | .problems[]')" ""

has "the agent is ready all the same" "$(status)" ': ready'
expect "and serves" "$(asks_web)" "5 default/web-1"
has "their state is a metric" "$(metrics)" '^kube_router_plugin_ready\{plugin="throws-in-setup"\} 0$'

# One that hangs: its thread is ended, what it wanted stays, and the others go on meanwhile.
loop_route() { $LAB exec node-one ip route show table 6666 2>/dev/null | grep -q 10.6.6.6; }
within 10 "the plugin that will hang has its route" loop_route
pod loop false 10.244.2.70 | $LAB apply -
pod evil true 10.244.2.66 | $LAB apply -
banned() { $LAB exec node-one ip route show table 7777 2>/dev/null | grep -q 10.244.2.66; }
within 5 "another plugin works while one hangs" banned
expect "the proxy serves while one hangs" "$(asks_web)" "5 default/web-1"
plugin_is loops degraded "did not answer for .*, and its process was ended; look for a loop that does not end"
loop_route || fail "what it wanted before stays" "$(status)"
has "the agent is ready while one hangs" "$(status)" ': ready'
pod loop false 10.244.2.70 | $LAB delete -
plugin_is loops ready
loop_route || fail "what it wants is there again" "$(status)"

# Everything was said once, whatever was tried again since.
for name in throws-at-load throws-in-setup throws-in-desired other-api wants-vip writable loops; do
  expect "plugin $name: each thing is said once" "$(errors $name)" $([ $name = wants-vip ] && echo 2 || echo 1)
done
expect "plugin hungry: that it took too much is said once" "$(errors hungry "$ate")" 1
chmod o-w $PLUGINS/writable.ts
plugin_is writable ready
rm $PLUGINS/*.ts
within 20 "all of them go with their files" eval '[ "$($LAB run one -- status --output=json | jq ".plugins | length")" = 1 ]'
within 10 "what one had goes with its file" eval '! loop_route'
$LAB run one -- plan >"$WORK/out" 2>&1 || fail "there is nothing to plan" "$(cat "$WORK/out")"
pass "there is nothing to plan"
