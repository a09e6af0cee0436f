#!/usr/bin/env bash
# The guide's problem 2: the API server answers on its ClusterIP, from nodes that are not the master.
. "$(dirname "$0")/lib.sh"

for from in node-node1 node-node2 node-node3 pod-default-client; do
  code=$($LAB exec $from curl -sk --max-time 5 -o "$LAB_OUT/version-$from" -w '%{http_code}' \
    -H "Authorization: Bearer $LAB_TOKEN" https://10.254.0.1:443/version)
  expect "https://10.254.0.1:443 answers $from" "$code" "200"
  grep -q gitVersion "$LAB_OUT/version-$from" || fail "$from talks to the API server" "$(cat "$LAB_OUT/version-$from")"
done
