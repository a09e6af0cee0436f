# Shared by the lab's set-up scripts: `need_packages TITLE PACKAGE…` installs the Debian packages that are missing, says
# which, and does nothing (no apt-get update either) when all are there.

need_packages() {
	title=$1
	shift
	# One query for all: each costs tens of milliseconds.
	installed=$(dpkg-query -W -f='${Package} ${Status}\n' "$@" 2>/dev/null | sed -n 's/ install ok installed$//p')
	missing=
	for p in "$@"; do
		case "
$installed
" in
		*"
$p
"*) ;;
		*) missing="$missing $p" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "$title: cannot install$missing: not root; run as root: apt-get install$missing" >&2
		return 1
	fi
	echo "$title: installing$missing" >&2
	export DEBIAN_FRONTEND=noninteractive
	apt() { apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"; }
	apt update >/dev/null || echo "$title: apt-get update failed, trying with the package lists at hand" >&2
	# The daemons of these packages (bird, frr) must not start on the host.
	policy=/usr/sbin/policy-rc.d
	if [ -e $policy ]; then
		policy=
	else
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod +x $policy
	fi
	# shellcheck disable=SC2086
	result=0
	apt install --no-install-recommends $missing >/dev/null || result=$?
	[ -z "$policy" ] || rm -f $policy
	[ $result = 0 ] || echo "$title: apt-get install$missing failed" >&2
	return $result
}
