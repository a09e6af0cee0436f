#!/usr/bin/env bash
# S34: packets of an endpoint that are out of conntrack's window reach their client as all others do, and break nothing.
. "$(dirname "$0")/lib.sh"

stray() { # stray NUMBER: the pod sends a client on port 9000 segments far out of the window; prints who that is
  $LAB exec "pod-default-web-$1" python3 - <<'PYTHON'
import socket, struct
def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
# A copy of what a client sends says where both ends are.
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.settimeout(5)
while True:
    packet = raw.recv(2000)
    head = (packet[0] & 15) * 4
    sport, dport, seq, ack, offset = struct.unpack("!HHIIB", packet[head:head + 13])
    size = len(packet) - head - (offset >> 4) * 4
    if dport == 9000 and size > 0:
        break
client = packet[12:16]
segment = struct.pack("!HHIIBBHHH", dport, sport, ack + 100_000_000 & 0xffffffff, seq + size & 0xffffffff, 5 << 4, 0x10, 1000, 0, 0)
pseudo = packet[16:20] + client + struct.pack("!BBH", 0, 6, len(segment))
segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
for _ in range(3):
    raw.sendto(segment, (socket.inet_ntoa(client), 0))
print(socket.inet_ntoa(client))
PYTHON
}

service
pod 2 | $LAB apply -
echo_server 2
settle
talk inside pod-default-client $VIP4 9000
expect "a pod of this node is at a pod of the other" "$(partner inside)" "web-2"
expect "which sends it stray segments" "$(stray 2)" "10.244.1.250"
goes_on inside "the connection goes on"
touch "$LAB_OUT/inside.end"
sleep 0.5
talk outside client-outside 192.168.50.11 30900
expect "a client outside is there, masqueraded" "$(partner outside)" "web-2"
expect "and gets stray segments" "$(stray 2)" "192.168.50.11"
goes_on outside "its connection goes on"
touch "$LAB_OUT/outside.end"
