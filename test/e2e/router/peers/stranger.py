"""A peer that speaks BGP badly: stranger.py ASN ROUTER-ID WHAT, to 10.129.6.211. Tries until it is let in."""

import os
import socket
import struct
import sys
import time

ASN, ROUTER_ID, WHAT = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def message(kind, body=b""):
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def update(prefix, more=b""):
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02\x06\x02\x01" + struct.pack("!I", ASN)
    attributes += b"\x40\x03\x04" + socket.inet_aton(s.getsockname()[0]) + more
    nlri = b"\x18" + socket.inet_aton(prefix)[:3]
    return message(2, struct.pack("!HH", 0, len(attributes)) + attributes + nlri)


def read():
    """One message: its type and its body."""
    data = b""
    while len(data) < 19 or len(data) < struct.unpack("!H", data[16:18])[0]:
        size = 19 if len(data) < 19 else struct.unpack("!H", data[16:18])[0]
        more = s.recv(size - len(data))
        if not more:
            raise ConnectionResetError("closed")
        data += more
    return data[18], data[19:]


def connect():
    """With the OPEN of the other side: before that a node that rests may still refuse."""
    for _ in range(200):
        try:
            found = socket.create_connection(("10.129.6.211", 179), 5)
            found.settimeout(40)
            globals()["s"] = found
            read()
            return found
        except OSError:
            time.sleep(0.2)
    sys.exit("never let in")


def established(hold=9):
    capabilities = b"\x01\x04\x00\x01\x00\x01" + b"\x41\x04" + struct.pack("!I", ASN)
    parameters = bytes([2, len(capabilities)]) + capabilities
    body = struct.pack("!BHH4sB", 4, ASN, hold, socket.inet_aton(ROUTER_ID), len(parameters))
    s.sendall(message(1, body + parameters))
    s.sendall(message(4))


def answer():
    """The NOTIFICATION that comes."""
    while True:
        kind, body = read()
        if kind == 3:
            return f"{body[0]}/{body[1]}"


s = connect()
if WHAT == "garbage":
    s.sendall(os.urandom(4000))
    print(answer())
elif WHAT == "open":
    established()
    print(answer())
elif WHAT == "mute":
    # Connected, and never a word.
    print(answer())
elif WHAT == "stall":
    # Established, and then neither a word nor an ear.
    established(3)
    s.sendall(update("10.71.0.0"))
    time.sleep(20)
elif WHAT == "flood":
    # A route that changes all the time, as fast as the connection takes it.
    established()
    block = b"".join(
        update("10.72.0.0", b"\x80\x04\x04" + struct.pack("!I", i)) for i in range(10000)
    )
    end, sent = time.time() + 2, 0
    while time.time() < end:
        s.sendall(block)
        sent += 10000
    print(sent)
elif WHAT == "malformed":
    established()
    s.sendall(update("10.70.1.0") + update("10.70.2.0"))
    time.sleep(2)
    for _ in range(50):
        # COMMUNITIES of five octets.
        s.sendall(update("10.70.2.0", b"\xc0\x08\x05\x00\x01\x00\x02\x03"))
    end = time.time() + 60
    while time.time() < end and not os.path.exists(sys.argv[4]):
        s.sendall(message(4))
        time.sleep(1)
