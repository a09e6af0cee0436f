#!/usr/bin/env bash
# What a stranger may type: every complaint is one line that names what is wrong, what was given and what is allowed.
. "$(dirname "$0")/lib.sh"
before=$(snapshot)

complains() { # complains STATUS PATTERN ARGS…: nothing on standard output, and this on standard error
	local status=$1 pattern=$2 out
	shift 2
	out=$(routelet "$@" 2>"$WORK/err" </dev/null)
	[ $? = "$status" ] || fail "routelet $*: exits with $status" "$(cat "$WORK/err")"
	[ -z "$out" ] || fail "routelet $*: prints nothing" "$out"
	has "routelet $*: says what is wrong" "$(cat "$WORK/err")" "^routelet: .*$pattern"
}
tells() { # tells STATUS PATTERN ARGS…: as the agent logs it
	local status=$1 pattern=$2
	shift 2
	routelet "$@" >"$WORK/out" 2>&1 </dev/null
	[ $? = "$status" ] || fail "routelet $*: exits with $status" "$(cat "$WORK/out")"
	has "routelet $*: says what is wrong" "$(sed 's/\\"/"/g' "$WORK/out")" "$pattern"
}

complains 2 'Unknown flag "--run-sevice-proxy"; did you mean "--run-service-proxy"$' --run-sevice-proxy
complains 2 'Flag --ipvs-sync-period cannot be "5": allowed is a duration such as "300ms"' --ipvs-sync-period=5
complains 2 'Flag --service-cluster-ip-range cannot be "10.96.0.0/33": allowed is a comma list of CIDRs' --service-cluster-ip-range=10.96.0.0/33
complains 2 'Flag --health-port cannot be "70000": allowed is a whole number from 0 to 65535' --health-port 70000
complains 2 'Flag --kubeconfig needs a value' --kubeconfig
complains 2 'Unknown command "staus"; did you mean "status"' staus
complains 2 'Command "version" takes no further words: "now" given' version now
complains 1 'Unknown flag "--foo"' plan --foo
complains 2 'Flags --manifests and --kubeconfig cannot be used together' --manifests=/tmp --kubeconfig=/tmp/x
complains 1 'Cannot plan: Cannot find the API server: neither --kubeconfig nor --master is set' plan
complains 1 'No agent runs here: nothing answers at "/run/routelet/agent.sock"' status

# Kubeconfigs.
good=/run/lab/nodes/one/kubeconfig
sed 's/current-context: .*/current-context: elsewhere/' $good >"$WORK/context"
sed 's/^ *server:.*/  server: [/' $good >"$WORK/broken"
sed 's/certificate-authority-data: .*/certificate-authority-data: "%%%"/' $good >"$WORK/base64"
echo 'hello: world' >"$WORK/other"
: >"$WORK/empty"
complains 1 'Cannot read kubeconfig "/none/config": no such file: correct --kubeconfig' plan --kubeconfig=/none/config
complains 1 'Cannot read kubeconfig "/etc": it is a folder' plan --kubeconfig=/etc
complains 1 "Cannot parse kubeconfig \"$WORK/broken\": line [0-9]+: .*: correct the file" plan --kubeconfig="$WORK/broken"
complains 1 "its current-context \"elsewhere\" is not one of its contexts \"" plan --kubeconfig="$WORK/context"
complains 1 "Cannot use the CA of kubeconfig \"$WORK/base64\": its data is not base64" plan --kubeconfig="$WORK/base64"
complains 1 "Cannot use kubeconfig \"$WORK/other\": it has no current-context" plan --kubeconfig="$WORK/other"
complains 1 "Cannot use kubeconfig \"$WORK/empty\": it holds no object of kind Config: the file is empty" plan --kubeconfig="$WORK/empty"
tells 1 "ERROR Cannot run +reason=\"Cannot use kubeconfig \"$WORK/other\"" --kubeconfig="$WORK/other"
tells 1 'ERROR Cannot run +reason="Cannot read manifests from "/none": no such file: correct --manifests' --manifests=/none
tells 1 'Cannot listen on "192.0.2.1:20244" \(--health-addr, --health-port\): this host has no such address' --kubeconfig=$good --health-addr=192.0.2.1

# Not root.
nobody() { on setpriv --reuid=65534 --regid=65534 --clear-groups "$LAB_ROUTELET" "$@" 2>&1; }
for command in run plan cleanup --cleanup-config; do
	said=$(nobody $command --kubeconfig=$good) && fail "nobody: $command fails" "$said"
	has "nobody: $command" "$said" '^routelet: The command "(run|plan|cleanup)" must run as root: .*; use sudo, or a privileged pod$'
done
has "nobody: version" "$(nobody version)" '^routelet [0-9.]+ \(commit '
has "nobody: a flag that is wrong" "$(nobody --foo)" 'Unknown flag "--foo"'

# Help, and readers that go away.
has "help" "$(routelet --help)" '^  plan +Print the exact change'
has "help of a command" "$(routelet help plan)" '^  routelet plan \[FILE|FOLDER\]… \[FLAGS\]$'
expect "help plan and plan --help are the same" "$(routelet plan --help)" "$(routelet help plan)"
set -o pipefail
line=$(routelet --help | head -1) || fail "help into head" "$line"
set +o pipefail
has "help into head" "$line" '^routelet: '
routelet --help >&- 2>&- || fail "help with closed outputs" "$?"

# Any environment, any folder, no input.
cd /proc || exit 1
line=$(on env -i LANG=C "$LAB_ROUTELET" plan --kubeconfig=$good --hostname-override=one $FLAGS <&- 2>&1)
expect "plan in a bare environment finds something to do" $? 2
has "plan in a bare environment" "$line" '^\+ link kube-dummy-if'
cd "$HERE" || exit 1

# Plan and clean-up without an agent.
routelet plan --kubeconfig=$good --hostname-override=one $FLAGS --output json >"$WORK/plan.json" 2>"$WORK/err"
expect "plan --output json exits with 2" $? 2
expect "plan --output json is JSON" "$(jq -r '.changes[0] | .plugin + " " + .verb' "$WORK/plan.json")" "proxy create"
expect "plan --output json is JSON alone" "$(cat "$WORK/err")" ""
for round in first second; do
	expect "clean-up of a clean node, $round time" "$(routelet cleanup)" "0 removed, nothing of ours is left"
done
expect "--cleanup-config takes flags of the agent" "$(routelet --cleanup-config --run-router=false --kubeconfig=/none)" "0 removed, nothing of ours is left"
same_snapshot "none of it changed Linux" "$before"
