"""Network namespaces by name, and the rtnetlink the lab needs in them, without a process for each step: starting `ip` costs
30 ms in user-mode Linux, a netlink message 0.05 ms."""

import os
import socket
import struct

import linux

FOLDER = "/run/netns"
ROOT = "@"  # the lab's own namespace, where its router and its API server are

NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_REPLACE = 1, 4, 0x200, 0x400, 0x100
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_NET_NS_FD, IFLA_LINKINFO = 1, 3, 10, 28, 18
IFF_UP = 1
IFA_F_NODAD = 2
RTNH_F_ONLINK = 4


class Missing(Exception):
    """No namespace of that name."""


class Namespaces:
    def __init__(self):
        os.makedirs(FOLDER, exist_ok=True)
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.fds = {ROOT: self.own}
        self.sockets = {}
        self.sequence = 0
        self.next_index = 1000
        self.up(ROOT, "lo")

    def fd(self, name):
        try:
            return self.fds[name]
        except KeyError:
            raise Missing(f"there is no namespace '{name}'") from None

    def within(self, name, action):
        """Runs `action` in that namespace; what it opens stays there."""
        fd = self.fd(name)
        if fd == self.own:
            return action()
        linux.setns(fd, linux.CLONE_NEWNET)
        try:
            return action()
        finally:
            linux.setns(self.own, linux.CLONE_NEWNET)

    def create(self, name):
        if name in self.fds:
            raise OSError(f"namespace '{name}' exists already")
        path = f"{FOLDER}/{name}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o644))
        linux.unshare(linux.CLONE_NEWNET)
        try:
            linux.mount("/proc/self/ns/net", path, None, linux.MS_BIND)
            self.fds[name] = os.open(path, os.O_RDONLY)
        finally:
            linux.setns(self.own, linux.CLONE_NEWNET)
        self.up(name, "lo")

    def remove(self, name):
        fd = self.fds.pop(name, None)
        if fd is None:
            return
        nl = self.sockets.pop(name, None)
        if nl:
            nl.close()
        os.close(fd)
        linux.umount(f"{FOLDER}/{name}")
        os.unlink(f"{FOLDER}/{name}")

    # -- rtnetlink

    def _request(self, ns, kind, flags, payload, what):
        nl = self.sockets.get(ns)
        if nl is None:
            nl = self.within(ns, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
            nl.bind((0, 0))
            self.sockets[ns] = nl
        self.sequence += 1
        nl.send(struct.pack("=IHHII", 16 + len(payload), kind, flags | NLM_F_REQUEST | NLM_F_ACK, self.sequence, 0) + payload)
        while True:
            data = nl.recv(65536)
            offset = 0
            while offset + 16 <= len(data):
                length, answer, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
                if answer == 2 and sequence == self.sequence:
                    error = -struct.unpack_from("=i", data, offset + 16)[0]
                    if error:
                        raise OSError(error, f"{os.strerror(error)} ({what} in '{ns}')")
                    return
                offset += (length + 3) & ~3

    def index(self, ns, name):
        try:
            return self.within(ns, lambda: socket.if_nametoindex(name))
        except OSError:
            raise OSError(f"there is no interface '{name}' in '{ns}'") from None

    def bridge(self, ns, name, mac):
        payload = _link() + _text(IFLA_IFNAME, name) + (_attr(IFLA_ADDRESS, _mac(mac)) if mac else b"")
        payload += _attr(IFLA_LINKINFO, _text(1, "bridge"))
        self._request(ns, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"bridge {name}")
        self.up(ns, name)

    def veth(self, ns, name, mac, peer_ns, peer, peer_mac):
        other = _link() + _text(IFLA_IFNAME, peer) + _attr(IFLA_NET_NS_FD, struct.pack("=i", self.fd(peer_ns)))
        if peer_mac:
            other += _attr(IFLA_ADDRESS, _mac(peer_mac))
        # The two ends must not have one interface index in their two namespaces: Linux then takes the device for one without a
        # peer and reports its carrier up to a second late.
        self.next_index += 1
        payload = _link(0, 0, self.next_index) + _text(IFLA_IFNAME, name) + (_attr(IFLA_ADDRESS, _mac(mac)) if mac else b"")
        payload += _attr(IFLA_LINKINFO, _text(1, "veth") + _attr(2, _attr(1, other)))
        self._request(ns, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"veth {name}")

    def unlink(self, ns, name):
        self._request(ns, RTM_DELLINK, 0, _link(0, 0, self.index(ns, name)), f"delete {name}")

    def up(self, ns, name, up=True):
        self._request(ns, RTM_NEWLINK, 0, _link(IFF_UP if up else 0, IFF_UP) + _text(IFLA_IFNAME, name), f"set {name} {'up' if up else 'down'}")

    def master(self, ns, name, bridge):
        payload = _link() + _text(IFLA_IFNAME, name) + _attr(IFLA_MASTER, struct.pack("=I", self.index(ns, bridge)))
        self._request(ns, RTM_NEWLINK, 0, payload, f"put {name} into {bridge}")

    def address(self, ns, dev, cidr):
        text, length = cidr.split("/")
        family, raw = _address(text)
        payload = struct.pack("=BBBBI", family, int(length), IFA_F_NODAD, 0, self.index(ns, dev)) + _attr(2, raw) + _attr(1, raw)
        if family == socket.AF_INET and int(length) < 31:
            value = int.from_bytes(raw, "big") | ((1 << (32 - int(length))) - 1)
            payload += _attr(4, value.to_bytes(4, "big"))
        self._request(ns, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload, f"address {cidr} on {dev}")

    def route(self, ns, destination, via, dev):
        """A `via` together with a `dev` is on that link whatever the addresses say (onlink)."""
        text, length = destination.split("/")
        family, raw = _address(text)
        flags = RTNH_F_ONLINK if via and dev else 0
        scope = 0 if via else 253
        payload = struct.pack("=BBBBBBBBI", family, int(length), 0, 0, 254, 4, scope, 1, flags)
        if int(length):
            payload += _attr(1, raw)
        if via:
            payload += _attr(5, _address(via)[1])
        if dev:
            payload += _attr(4, struct.pack("=I", self.index(ns, dev)))
        self._request(ns, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, payload, f"route {destination} via {via} dev {dev}")

    def sysctl(self, ns, key, value):
        def write():
            try:
                with open(f"/proc/sys/{key}", "w") as file:
                    file.write(value)
            except FileNotFoundError:
                pass  # this Linux lacks the feature (IPv6, br_netfilter), and so the setting's effect
        self.within(ns, write)

    def announce(self, ns, dev, text):
        """Gratuitous ARP, or unsolicited neighbour advertisement: neighbours forget who had the address before."""
        family, raw = _address(text)

        def send():
            if family == socket.AF_INET:
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
                    s.bind((dev, 0))
                    own = s.getsockname()[4]
                    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + raw + b"\0" * 6 + raw
                    s.send(b"\xff" * 6 + own + b"\x08\x06" + arp)
                return
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as p:
                p.bind((dev, 0))
                own = p.getsockname()[4]
            with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                index = socket.if_nametoindex(dev)
                s.bind((text, 0, 0, index))
                # Type 136, flag Override, option 2: target link-layer address (RFC 4861, 4.4); Linux fills in the checksum.
                s.sendto(struct.pack("!BBHI", 136, 0, 0, 0x20000000) + raw + b"\x02\x01" + own, ("ff02::1", 0, 0, index))

        self.within(ns, send)


def _link(flags=0, change=0, index=0):
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _text(kind, text):
    return _attr(kind, text.encode() + b"\0")


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def _address(text):
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return family, socket.inet_pton(family, text)
