#!/usr/bin/env bash
# Agents beside each other, where they may not listen, and at every signal; what they tell of secrets.
. "$(dirname "$0")/lib.sh"
KUBECONFIG_OF_ONE=/run/lab/nodes/one/kubeconfig
before=$(snapshot)
SECRETS="--peer-router-ips=192.168.50.1 --peer-router-asns=64512 --peer-router-passwords=c2VzYW1lLW9wZW4="

# shellcheck disable=SC2086
agent --kubeconfig=$KUBECONFIG_OF_ONE $SECRETS --enable-pprof -v=3
within 20 "an agent is ready" is_applied
has "flags that are not served are said in one line" "$(log)" 'WARN .*Flags without effect in this version: --enable-pprof$'
routes=$(snapshot)

second() { # second DESCRIPTION PATTERN FLAGS…: a second agent ends with 1 and says why
	local description=$1 pattern=$2 said
	shift 2
	said=$(routelet --kubeconfig=$KUBECONFIG_OF_ONE --hostname-override=one $FLAGS "$@" 2>&1)
	expect "$description ends" $? 1
	has "$description: it says why" "$(printf '%s\n' "$said" | sed 's/\\"/"/g')" "ERROR Cannot run +reason=\"$pattern"
}
second "a second agent" 'Cannot listen on "/run/routelet/agent.sock" \(--runtime-dir\): another agent answers on it; stop that one'
second "a second agent with a folder of its own" 'Cannot listen on ":20244" \(--health-addr, --health-port\): process [0-9]+ \("routelet[^"]*"\) has this port' --runtime-dir="$WORK/own"
said=$(routelet cleanup 2>&1) && fail "no clean-up beside an agent" "$said"
has "no clean-up beside an agent" "$said" 'Cannot clean up: an agent runs on this node'
has "nobody may not ask the agent" "$(on setpriv --reuid=65534 --regid=65534 --clear-groups "$LAB_ROUTELET" status 2>&1)" 'not permitted; run as root'
same_snapshot "the first agent's work stays" "$routes"

# Secrets: neither the token nor the password is told by anyone.
token=$(sed -n 's/.*token: "\(.*\)"/\1/p' $KUBECONFIG_OF_ONE)
[ -n "$token" ] || fail "the kubeconfig has a token" "$(cat $KUBECONFIG_OF_ONE)"
# shellcheck disable=SC2086
{
	cat "$LAB_OUT/one.log"
	routelet status --output json
	routelet status
	routelet plan $SECRETS -v=3
	routelet --peer-router-passwords='sesame-open!' --peer-router-ips=192.168.50.1 --peer-router-asns=64512
	routelet --master='https://me:sesame-open@10.0.0.1:x'
	on curl -s --unix-socket /run/routelet/agent.sock http://agent/flags
	ask_health status
} >"$LAB_OUT/said" 2>&1
expect "no secret is told" "$(grep -E "$token|c2VzYW1l|sesame" "$LAB_OUT/said")" ""
has "the socket tells flags" "$(on curl -s --unix-socket /run/routelet/agent.sock http://agent/flags)" '"peerRouterIps":\["192.168.50.1"\]'
has "the network does not" "$(ask_health flags)" '^404$'
expect "the socket is for root alone" "$(on stat -c '%a %U' /run/routelet/agent.sock)" "600 root"

# A plugin that is off leaves what it has, and everybody is told so.
said=$(routelet plan --run-service-proxy=false 2>&1)
expect "plan without the proxy changes nothing" $? 0
has "plan without the proxy says what stays" "$said" '^note: Plugin "proxy" is off, and [0-9]+ things of it stay in Linux as they are; .*routelet cleanup'
stop TERM
same_snapshot "SIGTERM leaves the work in place" "$routes"
agent --kubeconfig=$KUBECONFIG_OF_ONE --run-service-proxy=false
says "an agent without the proxy says what stays" 'WARN +Plugin "proxy" is off, and [0-9]+ things of it stay'
says "an agent without plugins says so" 'WARN +No plugin is on'
stop INT
same_snapshot "an agent without the proxy leaves its work in place" "$routes"

# One with a third party's plugin alone, which tries to write a line of the agent's log.
mkdir -m 755 "$WORK/plugins"
cat >"$WORK/plugins/forger.ts" <<'TS'
export default {
	name: "forger", api: 1, watches: [], tables: ["routes"],
	setup({ log, background, reconcile }) {
		const line = "\n2026-01-01T00:00:00.000Z ERROR  Linux refused a change  plugin=proxy";
		background(() => {
			log.info(`said${line}`, { [`name${line}`]: `value${line}`, level: "error", plugin: "proxy" });
			console.log(`printed${line}`);
			return () => {};
		});
		reconcile({ name: "none", inputs: [], units: () => [], desired() {} });
	},
};
TS
chmod 755 "$WORK"
agent --kubeconfig=$KUBECONFIG_OF_ONE --run-service-proxy=false --plugins-dir="$WORK/plugins"
says "a third party's plugin runs alone" 'INFO +Plugin started +plugin=forger'
says "what it says is one line" 'INFO +said\\n2026.*plugin=forger.* level_=error plugin_=proxy'
says "what it prints too" 'INFO +Plugin printed +plugin=forger line=printed$'
expect "and nobody says that there is no plugin, or what it forged" "$(log | grep -E 'No plugin is on|^2026-01-01T')" ""
# Who reads only the first line ends the command, without a word.
first=$(on bash -c '{ "$0" status --watch; echo $? >&2; } 2>"$1/ended" | head -n 1' "$LAB_ROUTELET" "$WORK")
has "status --watch into head prints" "$first" 'routelet .* on one'
expect "and ends as SIGPIPE ends others, without a word" "$(cat "$WORK/ended")" 141
stop

# SIGHUP is nothing that an agent knows: it ends as any program does, and the next one starts over the socket that is left.
agent --kubeconfig=$KUBECONFIG_OF_ONE
within 20 "an agent is ready again" is_applied
kill -HUP "${AGENTS[one]}"
ends "the agent ends at SIGHUP" 129
[ "$(on sh -c 'test -S /run/routelet/agent.sock && echo left')" = left ] || fail "the socket is left behind" ""
agent --kubeconfig=$KUBECONFIG_OF_ONE
within 20 "the next agent takes the socket over" is_applied
same_snapshot "and leaves Linux as it was" "$routes"
stop
# At once, before it is up.
for pause in 0.05 0.15 0.3; do
	agent --kubeconfig=$KUBECONFIG_OF_ONE
	sleep $pause
	kill "${AGENTS[one]}"
	wait "${AGENTS[one]}"
	status=$?
	case $status in 0 | 143) pass "SIGTERM $pause s after the start ends it with $status" ;;
	*) fail "SIGTERM $pause s after the start ends it" "$status: $(log)" ;; esac
done
# While its credentials hang.
cat >"$WORK/plugin" <<'SH'
#!/bin/sh
exec sleep 60
SH
chmod +x "$WORK/plugin"
sed "s|token: .*|exec: { apiVersion: client.authentication.k8s.io/v1, command: $WORK/plugin, interactiveMode: Never }|" $KUBECONFIG_OF_ONE >"$WORK/exec"
agent --kubeconfig="$WORK/exec"
says "the agent waits for its exec plugin" 'Starting routelet'
sleep 0.5
stop
routelet cleanup >/dev/null || fail "clean-up" "$(routelet cleanup 2>&1)"
same_snapshot "a clean node in the end" "$before"

# A runtime folder that cannot be written.
on sh -c 'rm -rf /run/routelet/* && mount -o remount,ro /run/routelet' || fail "remount" "$(on grep routelet /proc/mounts)"
second "an agent whose folder is read-only" 'Cannot listen on "/run/routelet/agent.sock" \(--runtime-dir\): its file system is read-only; name a folder'
