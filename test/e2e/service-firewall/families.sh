#!/usr/bin/env bash
# One family at a time: it is guarded, and nothing of the other is made.
. "$(dirname "$0")/lib.sh"

node() { $LAB exec "node-$1" "${@:2}"; }
expect "without IPv6 there are no sets of it" "$(node one ipset list -n | grep -c inet6)" "0"
expect "nor rules" "$(node one ip6tables-save | grep -c KUBE-ROUTER)" "0"
expect "without IPv4 there are no sets of it" "$(node two ipset list -n | grep -vc inet6)" "0"
expect "nor rules" "$(node two iptables-save | grep -c KUBE-ROUTER)" "0"
listen 9000
expect "IPv4 is guarded" "$(results TCP 9000 client-outside -- 10.96.1.1)" "client-outside 10.96.1.1 refused"
on() { $LAB exec node-two "$@"; }
listen 9000
expect "IPv6 is guarded" "$(results TCP 9000 client-outside -- fd00:96::1)" "client-outside fd00:96::1 refused"
expect "both serve" "$(results TCP 80 client-outside -- 10.96.1.1 fd00:96::1 | grep -c ' ok default/web-')" "2"
