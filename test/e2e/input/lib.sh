# What the scripts of bad input share: agents that they start themselves, with any flags, on nodes that have none.
. "$(dirname "$0")/../agent/lib.sh"

HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d)
NODE=one
declare -A AGENTS # their processes, by node
FLAGS="--service-cluster-ip-range=10.96.0.0/16 --run-router=false --run-firewall=false"

on() { $LAB exec "node-$NODE" "$@"; }

routelet() { on "$LAB_ROUTELET" "$@"; } # routelet ARGS…: once, as root, on NODE

agent() { # agent FLAGS…: starts one on NODE
	# shellcheck disable=SC2086
	$LAB exec "node-$NODE" "$LAB_ROUTELET" "--hostname-override=$NODE" $FLAGS "$@" >"$LAB_OUT/$NODE.log" 2>&1 &
	AGENTS[$NODE]=$!
}

log() { sed 's/\\"/"/g' "$LAB_OUT/$NODE.log"; } # what the agent on NODE said since its start, quotes within fields as they are

ends() { # ends DESCRIPTION STATUS: the agent on NODE ends by itself
	local waited=0 status
	while kill -0 "${AGENTS[$NODE]}" 2>/dev/null; do
		waited=$((waited + 1))
		[ $waited -lt 100 ] || fail "$1: it still runs" "$(log)"
		sleep 0.05
	done
	wait "${AGENTS[$NODE]}"
	status=$?
	[ $status = "$2" ] || fail "$1: wanted status $2; got $status" "$(log)"
}

stop() { # stop [SIGNAL]: the agent on NODE ends with 0, within two seconds
	local start now
	start=$(date +%s%N)
	kill "-${1:-TERM}" "${AGENTS[$NODE]}"
	ends "an agent ends at SIG${1:-TERM}" 0
	now=$((($(date +%s%N) - start) / 1000000))
	[ $now -lt 2500 ] || fail "an agent ends at SIG${1:-TERM} within 2 s" "$now ms"
	pass "$NODE: the agent ends with 0 at SIG${1:-TERM}"
}

ask_health() { on curl -s -m 5 -w '\n%{http_code}\n' "http://127.0.0.1:20244/$1"; } # ask_health PATH: its answer, then its status
is_ready() { [ "$(ask_health readyz)" = "OK

200" ]; }
is_applied() { is_ready && [ "$(on curl -s http://127.0.0.1:20244/status | jq .pending)" = 0 ]; }

says() { # says DESCRIPTION PATTERN: the log of NODE's agent says it, soon
	local waited=0
	until log | grep -qE -- "$2"; do
		waited=$((waited + 1))
		[ $waited -lt 100 ] || fail "$1: no line like \"$2\" in the log" "$(log)"
		sleep 0.1
	done
	pass "$1"
}

has() { # has DESCRIPTION TEXT PATTERN
	printf '%s\n' "$2" | grep -qE -- "$3" || fail "$1: nothing like \"$3\" in:" "$2"
	pass "$1"
}

snapshot() { # all that an agent may change on NODE. Tables without rules are left out: to read them makes them
	on sh -c '
		ipvsadm -Sn 2>/dev/null | sort
		ip -o addr | grep -v "scope link" | awk "{ print \$2, \$4 }" | sort
		ip -o link 2>/dev/null | awk "{ print \$2 }"
		ip -4 route show table all | sort; ip -6 route show table all | grep -v fe80 | sort
		iptables-save | grep -v "^#" | sed "s/\[[0-9:]*\]//"; ip6tables-save | grep -v "^#" | sed "s/\[[0-9:]*\]//"
		cd /proc/sys/net; grep . ipv4/ip_forward ipv4/vs/conntrack ipv4/vs/expire_nodest_conn ipv4/conf/all/arp_ignore ipv4/conf/all/arp_announce bridge/bridge-nf-call-* 2>/dev/null' |
		grep -vE '^(\*|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) )'
}
