#!/usr/bin/env bash
# The ownership ledger is lost, damaged, another's, or cannot be written: never is anything flushed or a foreign thing touched.
. "$(dirname "$0")/lib.sh"
FOLDER=/run/routelet
start() { agent --kubeconfig=/run/lab/nodes/one/kubeconfig; }

on sh -c 'ipvsadm -A -t 10.99.9.9:80 -s wlc && ipvsadm -a -t 10.99.9.9:80 -r 10.244.1.5:8080 -m -w 7
	ip addr add 10.99.9.9/32 dev lo; ip route add 10.99.8.0/24 via 10.244.1.5' || fail "foreign things are made" ""
before=$(snapshot)
conflicts() { routelet status --output json | jq -r '.plugins[].problems[] | select(.type == "conflict") | .subject' | sort; }
answers() { probe_all pod-default-client TCP 4 10.96.1.1 80; }
BOTH="2 default/web-1
2 default/web-2"

# No space: said, retried, and nothing is changed that could not be marked.
on sh -c "mount -t tmpfs -o size=64k none $FOLDER; cat /dev/zero >$FOLDER/filler 2>/dev/null; true" || fail "a full disk" ""
start
says "no space: the log says which file, why and what helps" \
	'Linux refused a change .*Cannot write the ownership ledger "/run/routelet/proxy.sysctl.ledger": ENOSPC.*free space there: without its mark nothing is changed'
sleep 1
has "no space: unready, with the reason" "$(ask_health readyz)" 'proxy.sysctl.ledger": ENOSPC'
expect "no space: no service without a mark" "$(on ipvsadm -Sn | grep -v 10.99.9.9)" ""
count=$(log | grep -c ENOSPC)
[ "$count" -lt 20 ] || fail "no space: not said again and again" "$(log)"
on rm $FOLDER/filler
within 20 "space again: ready" is_applied
expect "space again: served" "$(answers)" "$BOTH"
after=$(snapshot)
stop
on sh -c "mkdir /run/copy && cp $FOLDER/*.ledger /run/copy && umount $FOLDER && cp /run/copy/* $FOLDER" || fail "copy" ""

damaged() { # damaged NAME REASON CONFLICTS SED-COMMAND
	on sh -c "for f in $FOLDER/*.ledger; do $4 \$f; done" || fail "$1: damage" ""
	start
	within 20 "$1: the agent is ready" is_ready
	says "$1: the log says so" "WARN +Ownership ledger cannot be used as it is .*path=$FOLDER/proxy.ipvs.ledger reason=\"$2.*its status says conflict"
	expect "$1: what is not marked any more is in conflict" "$(conflicts)" "$3"
	expect "$1: all Services go on" "$(answers)" "$BOTH"
	stop
	same_snapshot "$1: nothing is flushed, nothing foreign is touched" "$after"
	on sh -c "cp /run/copy/* $FOLDER"
}
ALL="ipvs.service tcp 10.96.1.1:80
ipvs.service tcp 10.96.1.2:81
ipvs.service tcp 192.168.50.11:30081"
damaged "garbage" "it is damaged and counts as empty" "$ALL" 'head -c 300 /dev/urandom >'
damaged "another boot" "it is of another boot" "$ALL" "sed -i 's/\"boot\":\"[^\"]*\"/\"boot\":\"00000000\"/'"
damaged "a line lost" "1 of its lines cannot be read" "$(printf '%s\n' "$ALL" | head -1)" "sed -i 's/^.*10.96.1.1:80.*/garbage/; s/^.*arp_ignore.*/garbage/'"

# The remedy that a conflict names.
on rm $FOLDER/proxy.ipvs.ledger
start
within 20 "no ledger at all: the agent is ready" is_ready
has "no ledger at all: the conflict says what to do" "$(routelet status)" 'conflict ipvs.service tcp 10.96.1.1:80: Linux holds .*10.96.1.1:80.*, which is not ours; remove it'
on ipvsadm -D -t 10.96.1.1:80
within 20 "what was removed by hand comes back as ours" sh -c "$LAB exec node-one ipvsadm -Ln -t 10.96.1.1:80 | grep -q 10.244.1.6"
on ipvsadm -D -t 10.96.1.2:81
on ipvsadm -D -t 192.168.50.11:30081
within 20 "and the others" sh -c "$LAB exec node-one ipvsadm -Ln -t 192.168.50.11:30081 | grep -q 10.244.1.6"
expect "no conflict is left" "$(conflicts)" ""
stop
routelet cleanup >/dev/null || fail "clean-up" "$(routelet cleanup 2>&1)"
same_snapshot "clean-up leaves what is foreign, and nothing else" "$before"
