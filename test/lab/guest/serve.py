"""The pods' servers: all in one process, each socket opened in its pod's namespace.

A server answers `<namespace>/<pod> <its address> <client address as seen>`, one line, at the first bytes or the end of a
request, and closes."""

import errno
import select
import socket
import struct

IN, OUT, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
SCTP = 132
IP_PKTINFO = 8
IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50
LINGER_SECONDS = 2  # how long a client may take to close after it has its line


def plain(address):
    """Without port, zone and IPv4-mapped form."""
    text = address.split("%")[0]
    return text[7:] if text.startswith("::ffff:") and "." in text else text


class Servers:
    def __init__(self, loop, namespaces):
        self.loop = loop
        self.namespaces = namespaces
        self.sockets = {}  # pod → listening sockets
        self.connections = {}  # pod → open connections

    def serve(self, pod, ns, ports):
        """Opens the ports; returns what could not be opened, as texts. Families that the Linux lacks are left out."""
        opened, failed = [], []
        self.sockets[pod] = opened
        self.connections[pod] = set()
        for port in ports:
            number, protocol = port["port"], port["protocol"]
            done = 0
            for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                try:
                    opened.append(self.namespaces.within(ns, lambda: self._open(pod, family, any_address, number, protocol)))
                    done += 1
                except OSError as error:
                    if protocol == "SCTP" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                        break  # this Linux has none
                    if family == socket.AF_INET or not done:
                        failed.append(f"{protocol} {number}: {error.strerror or error}")
                        break
        return failed

    def stop(self, pod):
        for s in self.sockets.pop(pod, []):
            self.loop.forget(s.fileno())
            s.close()
        for s in list(self.connections.pop(pod, ())):
            self.loop.forget(s.fileno())
            # A pod that is deleted does not say good-bye to its clients.
            s.close()

    def _open(self, pod, family, address, port, protocol):
        if protocol == "UDP":
            return self._udp(pod, family, address, port)
        s = socket.socket(family, socket.SOCK_STREAM, SCTP if protocol == "SCTP" else 0)
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((address, port))
            s.listen(1024)
            s.setblocking(False)
        except OSError:
            s.close()
            raise
        self.loop.watch(s.fileno(), IN, lambda _: self._accept(pod, s))
        return s

    def _accept(self, pod, listener):
        for _ in range(64):
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            self.connections[pod].add(connection)
            self.loop.watch(connection.fileno(), IN, lambda _, c=connection, p=peer[0]: self._answer(pod, c, p))

    def _answer(self, pod, connection, peer):
        try:
            request = connection.recv(65536)
            line = f"{pod} {plain(connection.getsockname()[0])} {plain(peer)}\n".encode()
            if request.startswith((b"GET ", b"HEAD ")):
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(line)}\r\nConnection: close\r\n\r\n".encode()
                line = head + (b"" if request.startswith(b"HEAD ") else line)
            connection.send(line)
            # Closing with unread bytes would send RST and could take the line from the client: close after it did, or soon.
            connection.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._close(pod, connection)
            return
        if not request or connection.type != socket.SOCK_STREAM or connection.proto == SCTP:
            self._close(pod, connection)
            return
        timer = self.loop.after(LINGER_SECONDS, lambda: self._close(pod, connection))
        self.loop.watch(connection.fileno(), IN, lambda _: self._drain(pod, connection, timer))

    def _drain(self, pod, connection, timer):
        try:
            if connection.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        timer[0] = None
        self._close(pod, connection)

    def _close(self, pod, connection):
        if connection.fileno() >= 0:
            self.loop.forget(connection.fileno())
            connection.close()
        self.connections.get(pod, set()).discard(connection)

    def _udp(self, pod, family, address, port):
        s = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
            else:
                s.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            s.bind((address, port))
            s.setblocking(False)
        except OSError:
            s.close()
            raise
        self.loop.watch(s.fileno(), IN, lambda _: self._datagram(pod, s))
        return s

    def _datagram(self, pod, s):
        for _ in range(64):
            try:
                _, ancillary, _, peer = s.recvmsg(65536, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier answer
            asked, control = None, []
            for level, kind, data in ancillary:
                if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                    # struct in_pktinfo: interface, local address (source of the answer), destination in the header
                    asked = socket.inet_ntoa(data[8:12])
                    control = [(level, kind, struct.pack("=i", 0) + data[8:12] + b"\0" * 4)]
                elif level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
                    asked = socket.inet_ntop(socket.AF_INET6, data[:16])
                    # Link-local answers need the interface, others must not be bound to it.
                    index = data[16:20] if data[0] == 0xFE else b"\0" * 4
                    control = [(level, kind, data[:16] + index)]
            line = f"{pod} {plain(asked or s.getsockname()[0])} {plain(peer[0])}\n".encode()
            try:
                s.sendmsg([line], control, 0, peer)
            except OSError:
                pass


class Relay:
    """A port of a namespace that leads to one of the lab's own: the API server on a node's address."""

    def __init__(self, loop, namespaces, ns, address, port, to):
        self.loop, self.to = loop, to

        def listen():
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
                s.listen(256)
            except OSError:
                s.close()
                raise
            s.setblocking(False)
            return s

        self.listener = namespaces.within(ns, listen)
        loop.watch(self.listener.fileno(), IN, lambda _: self._accept())

    def close(self):
        self.loop.forget(self.listener.fileno())
        self.listener.close()

    def _accept(self):
        try:
            near, _ = self.listener.accept()
        except OSError:
            return
        far = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            far.connect(("127.0.0.1", self.to))
        except OSError:
            far.close()
            # The API server is down: as on its own port, where nobody listens then.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            near.close()
            return
        pair = {near: far, far: near}
        buffers = {near: b"", far: b""}  # what waits to be written to each
        ended = set()  # those that will send no more

        def shut():
            for s in pair:
                if s.fileno() >= 0:
                    self.loop.forget(s.fileno())
                    s.close()

        def arm(s):
            wanted = (IN if s not in ended and len(buffers[pair[s]]) < 1 << 20 else 0) | (OUT if buffers[s] else 0)
            self.loop.watch(s.fileno(), wanted, lambda events, s=s: move(s, events))

        def move(s, events):
            other = pair[s]
            try:
                if events & OUT and buffers[s]:
                    buffers[s] = buffers[s][s.send(buffers[s]):]
                if events & (IN | ERR) and s not in ended:
                    data = s.recv(65536)
                    if data:
                        buffers[other] += data
                    else:
                        ended.add(s)
                        if other in ended:
                            return shut()
                        if not buffers[other]:
                            other.shutdown(socket.SHUT_WR)
                elif events & ERR:
                    return shut()
                if other in ended and not buffers[s]:
                    s.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                pass
            except OSError:
                return shut()
            arm(near)
            arm(far)

        for s in pair:
            s.setblocking(False)
            arm(s)
