# What the router's scripts share. Each check prints one line; the first that fails ends the script with status 1.
set -u

fail() { # fail DESCRIPTION GOT
  printf 'FAIL %s\n%s\n' "$1" "$2" >&2
  exit 1
}

pass() { printf 'ok   %s\n' "$1"; }

expect() { # expect DESCRIPTION GOT WANTED: the very same text
  [ "$2" = "$3" ] || fail "$1: wanted: $3; got:" "$2"
  pass "$1"
}

has() { # has DESCRIPTION TEXT PART
  printf '%s\n' "$2" | grep -qF -- "$3" || fail "$1: no \"$3\" in:" "$2"
  pass "$1"
}

lacks() { # lacks DESCRIPTION TEXT PART
  ! printf '%s\n' "$2" | grep -qF -- "$3" || fail "$1: \"$3\" in:" "$2"
  pass "$1"
}

until_true() { # until_true DESCRIPTION COMMAND…: within 30 tries; what it prints last stands in the failure
  local what=$1 i out=''
  shift
  for ((i = 0; i < 60; i++)); do
    out=$("$@" 2>&1) && { pass "$what"; return; }
    sleep 0.5
  done
  fail "$what" "$out"
}

on() { # on NODE COMMAND…
  local node=$1
  shift
  $LAB exec "node-$node" "$@"
}

routes() { # routes NODE 4|6: ours, runs of blanks aside
  on "$1" ip "-$2" route show table all proto 202 | tr -s ' ' | sed 's/ $//; s/ pref medium//' | sort
}

probe() { # probe FROM ADDRESS: "result answer"
  printf '{"from":"%s","to":"%s","port":80,"protocol":"TCP","timeoutMs":2000}\n' "$1" "$2" |
    $LAB probe | jq -r '.result + " " + (.answer // "")'
}

reaches() { # reaches FROM ADDRESS: whether it answers
  [ "$(probe "$1" "$2" | cut -d' ' -f1)" = ok ]
}

pods_reach_each_other() { # pods_reach_each_other: every pod every other one, in both families; prints what fails
  local a b bad=0 lines=''
  for a in 1 2 3; do
    for b in 1 2 3; do
      [ "$a" = "$b" ] && continue
      lines+='{"from":"pod-default-p'$a'","to":"10.244.'$b'.5","port":80,"protocol":"TCP","timeoutMs":2000,"id":"'$a-$b'-4"}'$'\n'
      lines+='{"from":"pod-default-p'$a'","to":"fd00:244:'$b'::5","port":80,"protocol":"TCP","timeoutMs":2000,"id":"'$a-$b'-6"}'$'\n'
    done
  done
  # The pod that answers sees the one that asked by its own address: nothing translates between pods.
  printf '%s' "$lines" | $LAB probe | jq -r '
    (.id | split("-")) as [$a, $b, $f]
    | (if $f == "4" then "10.244.\($a).5" else "fd00:244:\($a)::5" end) as $client
    | select(.result != "ok" or ((.answer | split(" "))[2] != $client))
    | "\(.id) \(.result) \(.answer // "")"' | sort >"$LAB_OUT/unreached"
  cat "$LAB_OUT/unreached"
  [ ! -s "$LAB_OUT/unreached" ]
}
