#!/usr/bin/env bash
# `routelet why`: each answer is compared with what real connections do; then `ipvs` and `status`, while there is something to see.
. "$(dirname "$0")/../agent/lib.sh"
settle
run() { $LAB run one -- "$@"; }
mkdir -p "$LAB_OUT/captures"
capture() { # capture NAME WORDS…: what is printed, for the page of captures; standard input
  local name=$1 text
  shift
  text=$(cat)
  printf '# routelet %s\n%s\n' "$*" "$text" >"$LAB_OUT/captures/$name"
}
json() { run why "$@" --output=json; }
met() { # met FROM ADDRESS PORT MS [COUNT]: what four connections come to, in the words of `why`
  local i
  for ((i = 0; i < ${5:-4}; i++)); do
    printf '{"from":"%s","to":"%s","port":%s,"protocol":"TCP","timeoutMs":%s,"id":"%s"}\n' "$1" "$2" "$3" "$4" "$i"
  done | $LAB probe | jq -r .result | sort -u | tr '\n' ' ' | sed 's/ok/reaches/; s/timeout/dropped/; s/ $//; s/.* .*/depends/'
}
tunnels_are_up() {
  [ "$(met pod-shop-client 10.244.2.6 8080 900)" = reaches ] && [ "$(met node-one 10.244.2.6 8080 900)" = reaches ]
}
within 60 "pods of both nodes reach each other" tunnels_are_up
$LAB exec node-one ip route add unreachable 192.0.2.0/25
$LAB exec node-one ip route add blackhole 192.0.2.128/25

while read -r netns address port source destination wanted description; do
  said=$(json "$source" "$destination" | jq -r '.targets[0].result')
  ms=1500 count=4
  # Linux asks for a neighbour for three seconds, and sends one ICMP error a second.
  [ "$wanted" = unreachable ] && ms=8000 count=1
  got=$(met "$netns" "$address" "$port" $ms $count)
  [ "$said $got" = "$wanted $wanted" ] ||
    fail "$description: wanted $wanted, why says $said, packets say $got" "$(run why "$source" "$destination")"
  pass "$description: $said"
done <<'CASES'
pod-shop-client 10.96.0.10 80 shop/client shop/web:http reaches a cluster IP with endpoints on both nodes
node-one 10.96.0.10 80 host web.shop.svc:80 reaches the same by its name in DNS, from this node
pod-shop-client 10.244.2.6 8080 shop/client pod/shop/far reaches a pod behind a tunnel
pod-shop-near 10.244.1.5 7 shop/near shop/client reaches a pod of this node
pod-shop-client 10.96.0.14 80 shop/client vault/safe refused a Service whose pod lets nobody in
node-one 10.96.0.14 80 one vault/safe reaches the same from the pod's node
pod-shop-client 10.244.1.7 8080 10.244.1.5 pod/vault/safe refused that pod itself, by address
pod-shop-near 10.96.0.15 80 shop/near shop/alone dropped a pod that is given itself
pod-shop-near 10.96.0.10 80 shop/near shop/web depends a pod that is given itself or another one
pod-shop-client 10.96.0.13 80 shop/client shop/empty refused a Service without endpoints
pod-shop-client 10.96.0.10 99 shop/client 10.96.0.10:99 refused a port that the Service does not have
client-outside 10.1.0.11 30080 10.1.0.99 node/one:30080 reaches a node port
client-outside 10.1.0.11 30081 10.1.0.99 10.1.0.11:30081 dropped a node port under a Local policy, the endpoint elsewhere
client-outside 203.0.113.10 80 10.1.0.99 203.0.113.10:80 reaches an external IP
client-outside 198.51.100.12 80 10.1.0.99 198.51.100.12:80/tcp dropped a load balancer IP with source ranges
node-one 198.51.100.12 80 host 198.51.100.12:80/tcp reaches the same from the node
pod-shop-client 10.1.0.11 22 shop/client 10.1.0.11:22 refused a port of the host on which nobody listens
pod-shop-client 10.1.0.11 20244 shop/client node/one:20244 reaches a port of the host on which somebody listens
pod-shop-client 192.0.2.9 80 shop/client 192.0.2.9:80 unreachable a route that refuses
pod-shop-client 192.0.2.200 80 shop/client 192.0.2.200:80 dropped a route that drops
node-one 10.244.1.99 80 host 10.244.1.99 unreachable an address of no pod
CASES

# What decides is named: the object, the rule, and a counter that counts.
declare -A texts
has() { # has DESCRIPTION PATTERN SOURCE DESTINATION: each pair is asked once
  local text
  texts["$3 $4"]=${texts["$3 $4"]:-$(run why "$3" "$4")}
  text=${texts["$3 $4"]}
  grep -qE -- "$2" <<<"$text" || fail "$1" "$text"
  pass "$1"
}
has "the policy that denies" 'ingress of vault/safe: denied, no rule of policy vault/closed' shop/client vault/safe
has "its chain, and what it has refused" 'chain KUBE-POD-FW-[A-Z0-9]+, "vault/safe reject", [1-9][0-9]* packets' shop/client vault/safe
has "the verdict's rule" 'chain KUBE-ROUTER-SVC-VERDICT, "no endpoints", [1-9][0-9]* packets' shop/client shop/empty
has "the source ranges" 'not in loadBalancerSourceRanges", [1-9][0-9]* packets' 10.1.0.99 198.51.100.12:80
has "masquerading" 'nat +source becomes 10.1.0.11, so that the answer comes back here' 10.1.0.99 node/one:30080
has "its counter" 'KUBE-ROUTER-MASQUERADE, "answers must come back here", [1-9][0-9]* packets' 10.1.0.99 node/one:30080
has "the tunnel" 'route +10.244.2.0/24 dev tun-[0-9a-f]+ \(ipip tunnel to 10.2.0.12\) src 10.1.0.11 \(the router.s\)' shop/client pod/shop/far
has "who else judges" 'shop/far on two: that node judges it' shop/client pod/shop/far
has "where the endpoint is chosen" 'the endpoint is chosen on two, where shop/far is' shop/far vault/safe
has "the scheduler and the virtual service" 'IPVS tcp 10.96.0.10:80: [1-9][0-9]* connections' shop/client shop/web
has "egress with the node's address" 'KUBE-ROUTER-RT-EGRESS, "pods leave the cluster' shop/client 8.8.8.8:53/udp
capture why why shop/client vault/safe <<<"${texts["shop/client vault/safe"]}"
capture why-service why 10.1.0.99 node/one:30080 <<<"${texts["10.1.0.99 node/one:30080"]}"
run why shop/client shop/nothing >"$LAB_OUT/none" 2>&1
expect "an unknown end is no answer" "$? $(cat "$LAB_OUT/none")" '1 routelet: "shop/nothing" is no address, and no service, pod, node is called so'
run why shop/client shop/empty >/dev/null
expect "what does not reach exits with 3" $? 3

table=$(run ipvs shop/web)
capture ipvs ipvs shop/web <<<"$table"
grep -qE '^tcp 10.96.0.10:80 +shop/web:http clusterIP +rr ' <<<"$table" || fail "ipvs names the Service" "$table"
grep -qE '^  -> 10.244.2.6:8080 +shop/far on two +masq ' <<<"$table" || fail "ipvs names the pod" "$table"
expect "ipvs prints what was asked for, with names" "$(grep -c '^tcp' <<<"$table")" 3
expect "ipvs in JSON has the counters" "$(run ipvs 10.96.0.10 --output=json | jq '.services[0].counters.connections > 0')" true
timeout 30 $LAB run one -- status --watch >"$LAB_OUT/watched" 2>&1 &
twice() { [ "$(grep -c 'on one: ready' "$LAB_OUT/watched")" -ge 2 ]; }
within 20 "status --watch prints it again and again" twice
kill $! 2>/dev/null
status=$(run status)
capture status status <<<"$status"
run policy list | capture policy-list policy list
run policy why shop/client vault/safe TCP/8080 | capture policy-why policy why shop/client vault/safe TCP/8080
run bgp neighbors | capture bgp-neighbors bgp neighbors
doctor=$(run doctor)
capture doctor doctor <<<"$doctor"
may=$(run doctor --run-loadbalancer --loadbalancer-ip-range=198.51.100.0/24)
for write in 'services/status +may get services and patch services/status' 'leases +may get, create, update leases in namespace "kube-system"'; do
  grep -qE "^ok +rbac/$write" <<<"$may" || fail "doctor asks for what the allocator writes" "$may"
done
pass "doctor asks for what the allocator writes"
for line in 'ipvs +14 services; [0-9]+ connections' 'bgp +1 of 1 sessions established' 'policies +1 for 1 pods of this node'; do
  grep -qE "^$line" <<<"$status" || fail "status says \"$line\"" "$status"
  pass "status says \"$line\""
done
expect "status in JSON has the same" "$(run status --output=json | jq -c '[.ipvs.ours, .bgp.established, .policies.policies]')" "[14,1,1]"

# The live page: on loopback alone, by its own names alone.
get() { $LAB exec node-one curl -s --max-time 10 "$@"; }
page=$(get -i http://127.0.0.1:20245/)
grep -qi '^content-security-policy: default-src .none.; script-src .sha256-' <<<"$page" && grep -q '<title>routelet</title>' <<<"$page" ||
  fail "the live page is there" "$(head -n 30 <<<"$page")"
pass "the live page is there"
expect "it lists Services" "$(get "http://localhost:20245/api/services?find=shop/&order=name" | jq -c '[.total, .services[0].name]')" '[5,"shop/alone"]'
expect "and peers" "$(get http://localhost:20245/api/overview | jq -r '.peers[0] | .address + " " + .state')" "10.2.0.12 Established"
expect "and who may reach which pod" "$(get http://localhost:20245/api/policies | jq -c '.sources as $s | [.pods[] | select(.name == "vault/safe") | .cells[$s | index("shop", "vault")]]')" '["none","all"]'
expect "and changes" "$(get http://localhost:20245/api/changes | jq '.changes | length > 5')" true
expect "another name is refused" "$(get -o /dev/null -w '%{http_code}' -H 'Host: evil.example' http://127.0.0.1:20245/api/overview)" 403
$LAB exec client-outside curl -s --max-time 3 http://10.1.0.11:20245/ >/dev/null && fail "nobody outside reaches it" ""
pass "nobody outside reaches it"

# What other flags, and manifests that are not applied yet, would change.
run plan --service-external-ip-range=203.0.113.128/25 >"$LAB_OUT/plan" 2>"$LAB_OUT/warnings"
expect "a plan with another flag finds changes" $? 2
expect "they stand below the Service that had asked for them" "$(sed -n '/^# proxy: service shop.web$/,/^#/p' "$LAB_OUT/plan" | grep -c '203.0.113.10')" \
  "$(grep -c 203.0.113.10 "$LAB_OUT/plan")"
cat "$LAB_OUT/plan" "$LAB_OUT/warnings" | capture plan plan --service-external-ip-range=203.0.113.128/25
grep -q '^warning: 203.0.113.10 of service shop/web would vanish from this node: External IP "203.0.113.10" is not served' "$LAB_OUT/warnings" ||
  fail "it warns of the VIP that would vanish" "$(cat "$LAB_OUT/warnings" "$LAB_OUT/plan")"
pass "it warns of the VIP that would vanish"
cat >"$LAB_OUT/new.yaml" <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: quiet, namespace: shop }
spec: { podSelector: { matchLabels: { app: client } }, policyTypes: [Egress] }
YAML
run plan "$LAB_OUT/new.yaml" >"$LAB_OUT/plan" 2>"$LAB_OUT/warnings"
expect "a plan of manifests finds changes" "$? $(cat "$LAB_OUT/warnings")" "2 "
for line in '# proxy: service shop/empty' '+ ipvs destination tcp 10.96.0.13:80 -> 10.244.1.6:8080 masq weight 1' '# firewall: policy shop/quiet'; do
  grep -qxF -- "$line" "$LAB_OUT/plan" || fail "it has the line \"$line\"" "$(cat "$LAB_OUT/plan")"
  pass "it has the line \"$line\""
done
expect "nothing else is planned" "$(run plan 2>&1; echo $?)" "0"
