#!/usr/bin/env python3
"""nflog.py OUT NETNS GROUP: writes the prefix of each packet that Linux logs to an nflog group of that namespace into OUT/nflog, a line
each, until OUT/nflog-enough exists. OUT/nflog is there when it listens."""
import ctypes, os, socket, struct, sys

out, netns, group = sys.argv[1], sys.argv[2], int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
path = next(p for p in (f"/run/netns/{netns}", f"/var/run/netns/{netns}") if os.path.exists(p))
if libc.setns(os.open(path, os.O_RDONLY), 0x40000000) != 0:
    raise OSError(ctypes.get_errno(), "setns")
NETLINK_NETFILTER, SUBSYS_ULOG, REQUEST_ACK = 12, 4, 5
NFULNL_MSG_PACKET, NFULNL_MSG_CONFIG = 0, 1
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_PREFIX = 1, 2, 10
BIND, COPY_META = 1, 1
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
s.bind((0, 0))


def configure(attribute, value):
    padded = struct.pack("HH", 4 + len(value), attribute) + value + b"\0" * (-len(value) % 4)
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, group) + padded
    s.send(struct.pack("IHHII", 16 + len(body), SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, REQUEST_ACK, 1, 0) + body)
    code = struct.unpack_from("i", s.recv(65536), 16)[0]
    if code != 0:
        raise OSError(-code, "nflog")


configure(NFULA_CFG_CMD, struct.pack("B", BIND))
configure(NFULA_CFG_MODE, struct.pack("!IBB", 0, COPY_META, 0))
s.settimeout(0.1)
with open(f"{out}/nflog", "w", buffering=1) as f:
    while not os.path.exists(f"{out}/nflog-enough"):
        try:
            data = s.recv(65536)
        except TimeoutError:
            continue
        while len(data) >= 20:
            length, kind = struct.unpack_from("IH", data)
            at = 20
            while kind == SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET and at + 4 <= length:
                size, attribute = struct.unpack_from("HH", data, at)
                if attribute & 0x3FFF == NFULA_PREFIX:
                    f.write(data[at + 4 : at + size].rstrip(b"\0").decode() + "\n")
                at += max(4, size + 3 & ~3)
            data = data[max(20, length + 3 & ~3) :]
