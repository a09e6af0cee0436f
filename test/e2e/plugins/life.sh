#!/usr/bin/env bash
# A third party's plugin in the folder of a running agent: it works, is changed, fails, is mended, and leaves nothing.
. "$(dirname "$0")/lib.sh"

banned() { # banned TABLE: what is banned, on one line
  $LAB exec node-one ip route show table "$1" 2>/dev/null | sed 's/ *$//' | paste -sd, | sed 's/ proto [0-9]*//g'
}
is_banned() { [ "$(banned "$1")" = "$2" ]; }

agent_ready
add ban
plugin_is ban ready
$LAB apply - <<'Y'
apiVersion: v1
kind: Pod
metadata: { name: evil, namespace: default, labels: { ban: "true" } }
spec: { nodeName: two, containers: [{ name: shell }] }
status: { phase: Running, podIPs: [{ ip: 10.244.2.66 }] }
Y
$LAB wait 20 >/dev/null || fail "the agent has applied what a plugin wants" "$(status)"
is_banned 7777 "blackhole 10.244.2.66" || fail "after the wait the plugin's route is there" "$(banned 7777)$(status)"
pass "a plugin that is copied into the folder of a running agent works, with the option of its flag"

$LAB exec node-one ip route del blackhole 10.244.2.66 table 7777
within 10 "what is deleted by hand comes back" is_banned 7777 "blackhole 10.244.2.66"
has "its metrics carry its name" "$(metrics)" '^kube_router_plugin_ban_evaluations [1-9]'
has "the state of each plugin is a metric" "$(metrics)" '^kube_router_plugin_ready\{plugin="ban"\} 1$'

# Its configuration, and what is wrong with it.
echo 'tabel: 8888' >$PLUGINS/ban.yaml
plugin_is ban degraded 'Option "tabel" is unknown: it takes table'
is_banned 7777 "blackhole 10.244.2.66" || fail "what it wanted stays while its configuration is wrong" "$(banned 7777)"
echo 'table: 8888' >$PLUGINS/ban.yaml
plugin_is ban ready
# The flag counts more than the file.
is_banned 7777 "blackhole 10.244.2.66" || fail "the flag counts more than the file" "$(banned 7777)"
rm $PLUGINS/ban.yaml

# A new version takes over without a gap in between.
sed 's/"blackhole"/"unreachable"/' "$HERE/ban.ts" >$PLUGINS/ban.ts
within 20 "a changed file takes effect" is_banned 7777 "unreachable 10.244.2.66"
printf 'export default { name: "ban", setup( {{{' >$PLUGINS/ban.ts
plugin_is ban degraded 'ban.ts|Unexpected|Expected'
is_banned 7777 "unreachable 10.244.2.66" || fail "a version that does not load costs nothing" "$(banned 7777)"
cp "$HERE/ban.ts" $PLUGINS/ban.ts
within 20 "a mended file takes effect" is_banned 7777 "blackhole 10.244.2.66"

# A restart of the agent, and a file that goes while no agent runs.
$LAB agent restart one
plugin_is ban ready
is_banned 7777 "blackhole 10.244.2.66" || fail "a restart keeps what it had" "$(banned 7777)"
rm $PLUGINS/ban.ts
within 20 "what it had goes with its file" is_banned 7777 ""
hasnt "the status forgets it" "$(status)" '\bban\b'
add ban
within 20 "it comes back with its file" is_banned 7777 "blackhole 10.244.2.66"
$LAB agent stop one
rm $PLUGINS/ban.ts
is_banned 7777 "blackhole 10.244.2.66" || fail "an agent that stops leaves it" "$(banned 7777)"
$LAB agent start one
within 20 "what a plugin left goes when its file went while no agent ran" is_banned 7777 ""

# As a folder, and cleanup without an agent.
mkdir $PLUGINS/ban && cp "$HERE/ban.ts" $PLUGINS/ban/mod.ts
within 20 "a folder with mod.ts works" is_banned 7777 "blackhole 10.244.2.66"
$LAB agent stop one
$LAB run one -- cleanup >"$WORK/out" 2>&1 || fail "cleanup" "$(cat "$WORK/out")"
is_banned 7777 "" || fail "cleanup removes what plugins of third parties left" "$(banned 7777)"
pass "cleanup removes what plugins of third parties left"

# From nothing, with the executable alone.
cd "$WORK" || exit 1
"$LAB_ROUTELET" plugin new shun >out 2>&1 || fail "plugin new" "$(cat out)"
"$LAB_ROUTELET" plugin test shun.ts >out 2>&1 || fail "plugin test" "$(cat out)"
has "a new plugin passes its test" "$(cat out)" '^\+ route blackhole 10.244.1.6/32 table 254$'
sed -i 's/"blackhole"/"unreachable"/' shun.ts
"$LAB_ROUTELET" plugin test shun.ts >out 2>&1 && fail "a plugin that does something else fails its test" "$(cat out)"
has "a plugin that does something else fails its test" "$(cat out)" 'The plan is not that of ".*/plan.txt"'
$LAB agent start one
install -m 644 shun.ts $PLUGINS/shun.ts
plugin_is shun ready
has "it is listed with its file" "$($LAB run one -- plugin list)" "^shun +ready +$PLUGINS/shun.ts$"
printf 'apiVersion: v1\nkind: Pod\nmetadata: { name: far, namespace: default, labels: { shun: "true" } }\nspec: { nodeName: two, containers: [{ name: shell }] }\nstatus: { phase: Running, podIPs: [{ ip: 10.244.2.77 }] }\n' | $LAB apply -
far() { $LAB exec node-one ip route | grep -q '^unreachable 10.244.2.77'; }
within 20 "and works in the running agent" far
