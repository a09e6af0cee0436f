#!/usr/bin/env python3
"""Knocks all the time, with a new connection each, and remembers who let it in.

knock.py OUT NETNS [tcp|udp]:ADDRESS:PORT… runs until OUT/enough exists, and writes a line each to
OUT/knocks-NETNS: the target, the number of knocks, the number that were answered, the longest time in ms
during which answers came without a refusal between, and the longest during which none came.
"""
import ctypes, os, socket, sys, threading, time

out, netns, targets = sys.argv[1], sys.argv[2], sys.argv[3:]
libc = ctypes.CDLL(None, use_errno=True)
path = next(p for p in (f"/run/netns/{netns}", f"/var/run/netns/{netns}") if os.path.exists(p))
if libc.setns(os.open(path, os.O_RDONLY), 0x40000000) != 0:
    raise OSError(ctypes.get_errno(), "setns")
lines = {}


def answered(protocol, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(2 if protocol == "tcp" else 1)
        try:
            s.connect((address, port))
            s.send(b"?\n")
            return len(s.recv(200)) > 0
        except OSError:
            return False


def knock(target):
    protocol, rest = target.split(":", 1)
    address, port = rest.rsplit(":", 1)
    knocks = yes = 0
    since = time.monotonic()
    was = None
    longest = {True: 0.0, False: 0.0}
    while not os.path.exists(f"{out}/enough"):
        now = answered(protocol, address, int(port))
        knocks += 1
        yes += now
        if now is not was:
            since, was = time.monotonic(), now
        longest[now] = max(longest[now], time.monotonic() - since)
        time.sleep(0.01)
    lines[target] = f"{target} {knocks} {yes} {longest[True] * 1000:.0f} {longest[False] * 1000:.0f}"


open(f"{out}/knocking-{netns}", "w").close()
threads = [threading.Thread(target=knock, args=(t,)) for t in targets]
for t in threads:
    t.start()
for t in threads:
    t.join()
with open(f"{out}/knocks-{netns}", "w") as f:
    f.write("".join(lines[t] + "\n" for t in targets))
os.remove(f"{out}/knocking-{netns}")
