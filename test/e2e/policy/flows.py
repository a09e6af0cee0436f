#!/usr/bin/env python3
"""Connections that last.

flows.py serve NETNS                        on port 7000: TCP, which sends ten times a second by itself, and UDP, which answers
flows.py hold OUT NAME NETNS PROTOCOL ADDRESS   holds one, and writes "STATE RECEIVED" to OUT/flow-NAME ten times
                                                a second. PROTOCOL: tcp, udp, or listen: tcp that sends nothing itself
"""
import ctypes, os, socket, sys, threading, time


def enter(netns):
    path = next(p for p in (f"/run/netns/{netns}", f"/var/run/netns/{netns}") if os.path.exists(p))
    if ctypes.CDLL(None, use_errno=True).setns(os.open(path, os.O_RDONLY), 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def drain(connection):
    try:
        while connection.recv(99):
            pass
    except OSError:
        pass


def tick(connection):
    threading.Thread(target=drain, args=(connection,), daemon=True).start()
    try:
        while True:
            connection.send(b".")
            time.sleep(0.1)
    except OSError:
        connection.close()


def serve(netns):
    enter(netns)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind(("::", 7000))

    def answer():
        while True:
            try:
                udp.sendto(b".", udp.recvfrom(9)[1])
            except OSError:
                pass

    threading.Thread(target=answer, daemon=True).start()
    tcp = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=tick, args=(tcp.accept()[0],), daemon=True).start()


def hold(out, name, netns, protocol, address):
    enter(netns)
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                      socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
    s.connect((address, 7000))
    s.settimeout(0.1)
    state, received = "open", 0
    while True:
        try:
            if protocol != "listen":
                s.send(b".")
            if s.recv(9):
                received += 1
            else:
                state = "ended"
        except TimeoutError:
            pass
        except OSError as error:
            # A UDP socket lives on.
            if protocol != "udp":
                state = type(error).__name__
        with open(f"{out}/flow-{name}.new", "w") as f:
            f.write(f"{state} {received}")
        os.rename(f"{out}/flow-{name}.new", f"{out}/flow-{name}")
        if state != "open":
            return
        time.sleep(0.05)


serve(sys.argv[2]) if sys.argv[1] == "serve" else hold(*sys.argv[2:])
