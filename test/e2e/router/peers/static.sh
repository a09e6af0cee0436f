#!/bin/bash
# The plugin advertise-static: prefixes that R1 (BIRD) has while a health check holds, and only then.
. "$(dirname "$0")/lib.sh"

PLUGINS=/run/plugins.d
# Under a name of its own: the one beside the executable would take over from a file that goes, since flags name it.
FILE=$PLUGINS/announce.ts
mkdir -p $PLUGINS && chmod 755 $PLUGINS
SOURCE=$(cd "$(dirname "$0")/../../../.." && pwd)/plugins.d/advertise-static.ts
put() { sed s/advertise-static/announce/ "$SOURCE" >$PLUGINS/.new && chmod 644 $PLUGINS/.new && mv $PLUGINS/.new $FILE; }
put

plugin() { # plugin FILTER: of the agent's status
  $LAB run node03 -- status --output json | jq -r ".plugins[] | select(.name == \"announce\") | $1"
}
says() { # says FILTER TEXT
  local got
  got=$(plugin "$1")
  echo "$got"
  grep -qF -- "$2" <<<"$got"
}
healthy() { # starts what is checked
  $LAB exec node-node03 python3 -m http.server --bind 127.0.0.1 --directory "$LAB_OUT/www" 8053 >/dev/null 2>&1 &
  server=$!
}
mkdir -p "$LAB_OUT/www"
touch "$LAB_OUT/www/ready"
server=""
trap '[ -z "$server" ] || kill $server' EXIT

annotate node03 peers '[{remoteip: 10.129.6.91, remoteasn: 64513}]' node.bgp.communities 64512:7
set -- --plugins-dir=$PLUGINS --plugin=announce.check=http://127.0.0.1:8053/ready --plugin=announce.fall=2 \
  --plugin=announce.prefixes=198.51.100.0/24,192.0.2.53/32,192.0.2.1/24 \
  --plugin=announce.communities=64512:100,64512:1:2
$LAB agent flags node03 -- "$@"
$LAB agent restart node03
until_true "a session with R1" established node03 R1
until_true "while the check fails the status says why" says '.problems[].reason' "Not announced, as http://127.0.0.1:8053/ready fails"
expect "and nothing is announced" "$(in_r1 198.51.100.0/24)" "R1 has 198.51.100.0/24 from: "

healthy
until_true "when it holds R1 has the prefix" in_r1 198.51.100.0/24 node03
until_true "and the other one" in_r1 192.0.2.53/32 node03
until_true "with the plugin's communities" r1_says 198.51.100.0/24 "(64512,100)"
until_true "the node's" r1_says 198.51.100.0/24 "(64512,7)"
until_true "the large ones" r1_says 198.51.100.0/24 "(64512, 1, 2)"
until_true "and the node as next hop" r1_says 198.51.100.0/24 "BGP.next_hop: 10.129.6.213"
expect "a bad prefix costs only itself" "$(plugin '.problems[].reason')" \
  'Refused bgp advertisement 192.0.2.0/24 communities 64512:100 64512:1:2 local preference 100: "192.0.2.1/24" has bits behind its length; write 192.0.2.0/24'
rib=$($LAB run node03 -- bgp rib local)
has "the router's table names the plugin" "$(grep '198.51.100.0/24' <<<"$rib")" "by plugin announce"
why=$($LAB run node03 -- bgp why 198.51.100.0/24)
has "and says why" "$why" 'Plugin "announce" has it announced'
has "to whom" "$why" "advertised to 10.129.6.91"
expect "nodes are not told, as VIPs are not" "$($LAB run node01 -- bgp rib local | grep -c 198.51.100.0/24)" 0

# A Service has one of the addresses as well: it is announced until both let go.
service() { printf 'apiVersion: v1\nkind: Service\nmetadata: { name: dns, namespace: default, annotations: { kube-router.io/service.advertise.externalip: "true" } }\nspec: { clusterIP: 10.96.7.7, externalIPs: [10.33.1.53], selector: { app: web }, ports: [{ port: 53 }] }\n'; }
$LAB agent flags node03 -- "$@" --plugin=announce.prefixes=198.51.100.0/24,10.33.1.53/32
service | $LAB apply - >/dev/null
$LAB agent restart node03
until_true "a Service and a plugin have one prefix" in_r1 10.33.1.53/32 node03
until_true "the plugin asks too" says .phase ready
why() { $LAB run node03 -- bgp why 10.33.1.53 | tee /dev/stderr | grep -cE 'Plugin "announce" has it|Service "default/dns" has it' | grep -qx 2; }
until_true "both are told of" why
service | $LAB delete - >/dev/null
$LAB wait 20 >/dev/null || fail "the agents did not settle" ""
without_service() { ! $LAB run node03 -- bgp why 10.33.1.53 | grep Service; }
until_true "without the Service" without_service
expect "the plugin's word is enough" "$(in_r1 10.33.1.53/32 node03)" "R1 has 10.33.1.53/32 from: node03 "

# What is checked goes and comes.
kill $server
until_true "when the check fails R1 has it no more" in_r1 198.51.100.0/24
until_true "nor the other" in_r1 10.33.1.53/32
until_true "the status says why" says '.problems[].reason' "Not announced, as http"
healthy
until_true "when it holds again it is back" in_r1 198.51.100.0/24 node03

# It is degraded: nobody knows what holds.
echo 'rise: none' >$PLUGINS/announce.yaml
until_true "a plugin that is degraded" says .reason 'Option "rise" cannot be "none"'
until_true "has nothing announced" in_r1 198.51.100.0/24
rm $PLUGINS/announce.yaml
until_true "and again when it works" in_r1 198.51.100.0/24 node03
# A new version takes over: R1 hears nothing of it.
since() { r1 "show route 198.51.100.0/24" | grep -o '\[node03 [^]]*'; }
before=$(since)
pid() { $LAB agent logs node03 | grep -c 'Plugin started.*announce'; }
starts=$(pid)
echo '// another version' >>$FILE
started_anew() { [ "$(pid)" -gt "$starts" ]; }
until_true "a new version takes over" started_anew
until_true "and is ready" says .phase ready
expect "without a word to R1" "$(since)" "$before"
rm $FILE
until_true "without the file nothing is announced" in_r1 198.51.100.0/24
until_true "and the node's own is" in_r1 10.96.0.10/32 node03

# Without a router nobody announces it, and the status says so.
put
$LAB agent flags node03 -- "$@" --run-router=false
$LAB agent restart node03
until_true "without a router the status says who is missing" says '.problems[].reason' \
  "nobody serves it, as no router runs on this node; start the agent with --run-router"
