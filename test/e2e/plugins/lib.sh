# What the scenarios of plugins share.
. "$(dirname "$0")/../agent/lib.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
PLUGINS=/run/plugins.d
mkdir -p $PLUGINS
chmod 755 $PLUGINS

status() { $LAB run one -- status 2>&1; }
metrics() { $LAB exec node-one curl -s http://192.168.50.11:20241/metrics; }
agent_ready() { status | grep -q 'ready' || fail "the agent is ready" "$(status)"; }

add() { # add NAME…: copies plugins into the folder
  local name
  for name; do cp "$HERE/$name.ts" "$PLUGINS/.new" && chmod 644 "$PLUGINS/.new" && mv "$PLUGINS/.new" "$PLUGINS/${name##*/}.ts"; done
}
phase_is() { # phase_is NAME PHASE [PATTERN]
  $LAB run one -- status --output=json | jq -e --arg n "$1" --arg p "$2" --arg r "${3:-}" \
    '.plugins[] | select(.name == $n) | .phase == $p and ((.reason // "") | test($r))'
}
plugin_is() { # plugin_is NAME PHASE [PATTERN]: within 30 s, with this reason
  local deadline=$(($(date +%s) + 30))
  until phase_is "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt $deadline ] ||
      fail "plugin $1 is $2${3:+, \"$3\"}" "$($LAB run one -- status --output=json | jq '.plugins[] | {name, phase, reason, problems}')
$($LAB agent logs one | tail -20)"
    sleep 0.2
  done
  pass "plugin $1 is $2${3:+, \"$3\"}"
}
has() { # has DESCRIPTION TEXT PATTERN
  printf '%s\n' "$2" | grep -qE -- "$3" || fail "$1: no \"$3\" in:" "$2"
  pass "$1"
}
hasnt() { # hasnt DESCRIPTION TEXT PATTERN
  ! printf '%s\n' "$2" | grep -qE -- "$3" || fail "$1: \"$3\" in:" "$2"
  pass "$1"
}
WORK=$(mktemp -d)
