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

# A dry run asks plugins too, with the agent's flags and with others.
plan() { $LAB run one -- plan "$@" >"$WORK/plan" 2>&1; echo "exit $?"; cat "$WORK/plan"; }
expect "with the plugin's route in Linux there is nothing to plan" "$(plan)" "exit 0"
has "with another option its change is planned" "$(plan --plugin=ban.table=9999)" '^\+ route blackhole 10.244.2.66/32 table 9999$'
has "and what goes for it" "$(cat "$WORK/plan")" '^- route blackhole 10.244.2.66/32 table 7777$'
has "a plugin that does not run is told of, and what it has is left alone" "$(plan --plugin=ban.tabel=1)" \
  '^note: Nothing is planned for plugin "ban": Option "tabel" is unknown: it takes table$'
is_banned 7777 "blackhole 10.244.2.66" || fail "a dry run changes nothing" "$(banned 7777)"

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
has "a dry run says what goes for a file that is gone" "$(plan --plugins-dir=$PLUGINS)" '^- route blackhole 10.244.2.66/32 table 7777$'
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

# Rules in the packet filter, by either backend, and real packets.
pods() { # pods WALLED: web-1 with that label, and two that ask it
  printf 'apiVersion: v1\nkind: Pod\nmetadata: { name: web-1, namespace: default, labels: { app: web, wall: "%s" } }\nspec: { nodeName: one, containers: [{ name: web, ports: [{ name: http, containerPort: 8080 }] }] }\nstatus: { phase: Running, podIPs: [{ ip: 10.244.1.5 }] }\n---\napiVersion: v1\nkind: Pod\nmetadata: { name: other, namespace: default }\nspec: { nodeName: two, containers: [{ name: shell }] }\nstatus: { phase: Running, podIPs: [{ ip: 10.244.2.9 }] }\n' "$1" | $LAB apply -
}
result() { # result FROM: of asking web-1
  printf '{"from":"%s","to":"10.244.1.5","port":8080,"protocol":"TCP","timeoutMs":1000}\n' "$1" | $LAB probe | jq -r .result
}
walls() { $LAB exec node-one sh -c 'ipset list -n; iptables-save; nft list ruleset 2>/dev/null' | grep -ciE 'rl-wall'; }
is_open() { [ "$(result "$1")" = ok ]; }
is_shut() { [ "$(result "$1")" = timeout ]; }
no_walls() { [ "$(walls)" = 0 ]; }
rm -f $PLUGINS/*.ts
backends=iptables
# Debian's user-mode Linux has no nf_tables for IPv4.
$LAB exec node-one nft 'add table ip try; delete table ip try' 2>/dev/null && backends="iptables nftables"
for backend in $backends; do
  $LAB agent flags one -- --netfilter=$backend
  $LAB agent restart one
  pods false
  within 10 "$backend: another pod reaches a pod without the label" is_open pod-default-other
  pods true
  add wall
  plugin_is wall ready
  within 20 "$backend: a wall that a plugin builds drops what it is to drop" is_shut pod-default-other
  within 5 "$backend: also from the node itself" is_shut node-one
  expect "$backend: and lets in whom it is to let in" "$(result pod-default-client)" ok
  expect "$backend: the proxy's rules stand beside it" "$(ask pod-default-client 10.96.1.1 80 2 | answered_by)" "2 default/web-1"
  case $backend in
    iptables) $LAB exec node-one iptables -F RL-WALL-PODS ;;
    nftables) $LAB exec node-one nft flush chain ip routelet RL-WALL-PODS ;;
  esac
  within 15 "$backend: what others flush comes back" is_shut pod-default-other
  pods false
  within 20 "$backend: without the label it is open again" is_open pod-default-other
  pods true
  within 20 "$backend: and shut with it" is_shut pod-default-other
  rm $PLUGINS/wall.ts
  within 20 "$backend: the wall goes with its file" no_walls
  within 5 "$backend: and all is open" is_open pod-default-other
done
