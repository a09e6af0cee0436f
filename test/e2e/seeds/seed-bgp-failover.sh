#!/bin/bash
# R1's link goes down: R2 keeps both nodes for each VIP, clients go on by it, and R1 comes back.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/bgp/lib.sh"

settle
eventually "R1 has sessions with both nodes" r1_established node01 node03
eventually "R2 has sessions with both nodes" r2_established 10.129.6.211 10.129.6.213
by R1
eventually "clients go by R1" reached 10.33.1.11

$LAB link router-R1 down
by R2
eventually "clients go on by R2" reached 10.33.1.11
for vip in 10.33.1.11/32 10.110.133.162/32; do
  eventually "R2 keeps both nodes for $vip" r2_has "$vip" 10.129.6.211 10.129.6.213
done
eventually "R2 keeps node01's pods by node01" r2_has 10.244.0.0/24 10.129.6.211
eventually "R2 keeps node03's pods by node03" r2_has 10.244.1.0/24 10.129.6.213
eventually "R2's sessions with the nodes stay" r2_established 10.129.6.211 10.129.6.213
eventually "pods go on by R2" reached 10.244.1.5

$LAB link router-R1 up
eventually "R1's sessions are established again" r1_established node01 node03
eventually "R1 has the VIP from both nodes again" r1_has 10.33.1.11/32 10.129.6.211 10.129.6.213
by R1
eventually "clients go by R1 again" reached 10.33.1.11
