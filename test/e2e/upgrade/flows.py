#!/usr/bin/env python3
"""Flows that must not lose anything.

flows.py serve: answers every TCP connection and every datagram at port 9000 with what it got.
flows.py OUT NETNS KIND,ADDRESS[,PORT]… runs flows from a namespace until OUT/enough exists, each 20 times a second:
  tcp   one connection; each message must come back, in order
  udp   one socket; each datagram must come back
  icmp  echo requests, each with its reply
  new   a connection each time, which must be answered
OUT/flows-NETNS has meanwhile "ANSWERS FLOW" for each, and in the end "SENT LOST FLOW REASONS". Lost is what has no answer after ten
seconds: TCP repeats by itself, the others do not.
"""
import ctypes, errno, os, select, socket, struct, sys, threading, time

PORT, EVERY, PATIENCE = 9000, 0.05, 10


def serve():
    def echo(connection):
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass

    def datagrams(family):
        # One for each family: an answer leaves from the address that was asked.
        s = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind(("", PORT))
        while True:
            s.sendto(*s.recvfrom(4096))

    for family in (socket.AF_INET, socket.AF_INET6):
        threading.Thread(target=datagrams, args=(family,), daemon=True).start()
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Flow:
    def __init__(self, text):
        self.text = text
        self.kind, self.address, *port = text.split(",")
        self.to = (self.address, int(port[0]) if port else 0)
        self.sent = self.answers = 0
        self.waiting = {}  # number or socket: when it was sent
        self.lost = []
        self.socket = None
        if self.kind != "new":
            self.open()

    def lose(self, reason):
        self.lost.append(f"{time.strftime('%H:%M:%S')} {reason}")

    def open(self):
        if self.kind == "tcp":
            self.socket = socket.create_connection(self.to, PATIENCE)
        elif self.kind == "udp":
            self.socket = socket.socket(family(self.address), socket.SOCK_DGRAM)
            self.socket.connect(self.to)
        else:
            six = family(self.address) == socket.AF_INET6
            protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
            self.socket = socket.socket(family(self.address), socket.SOCK_RAW, protocol)
            self.socket.connect(self.to)
        self.socket.setblocking(False)
        poll.register(self.socket, select.POLLIN)
        by_fd[self.socket.fileno()] = self

    def send(self):
        self.sent += 1
        try:
            if self.kind == "new":
                s = socket.socket(family(self.address), socket.SOCK_STREAM)
                s.setblocking(False)
                # A reset at the end: nothing waits for a minute in TIME_WAIT.
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                code = s.connect_ex(self.to)
                if code not in (0, errno.EINPROGRESS):
                    raise OSError(code, os.strerror(code))
                self.waiting[s] = time.monotonic()
                poll.register(s, select.POLLOUT)
                by_fd[s.fileno()] = self
            elif self.socket is not None:
                self.waiting[self.sent] = time.monotonic()
                self.socket.send(self.message(self.sent))
        except OSError as error:
            self.lose(f"number {self.sent}: {error}")

    def message(self, number):
        if self.kind != "icmp":
            return struct.pack("!I", number)
        six = family(self.address) == socket.AF_INET6
        # Linux fills the checksum of ICMPv6 in.
        head = struct.pack("!BBHHHI", 128 if six else 8, 0, 0, os.getpid() & 0xFFFF, number & 0xFFFF, number)
        if six:
            return head
        total = sum(struct.unpack("!6H", head))
        total = (total >> 16) + (total & 0xFFFF)
        total = ~((total >> 16) + total) & 0xFFFF
        return head[:2] + struct.pack("!H", total) + head[4:]

    def ready(self, fd, event):
        if self.kind == "new":
            return self.connected(fd, event)
        try:
            data = self.socket.recv(4096)
        except OSError as error:
            return self.lose(str(error))
        if self.kind == "tcp":
            if not data or len(data) % 4:
                poll.unregister(self.socket)
                self.socket = None
                return self.lose("the connection was closed" if not data else "half a message")
            for (number,) in struct.iter_unpack("!I", data):
                if number != self.answers + 1:
                    self.lose(f"number {number} after {self.answers}")
                self.answered(number)
        elif self.kind == "udp":
            self.answered(struct.unpack("!I", data)[0])
        else:
            # IPv4 puts its own header before it.
            if family(self.address) == socket.AF_INET:
                data = data[(data[0] & 15) * 4:]
            kind, _, _, ident, _ = struct.unpack("!BBHHH", data[:8])
            if kind in (0, 129) and ident == os.getpid() & 0xFFFF:
                self.answered(struct.unpack("!I", data[8:12])[0])

    def answered(self, number):
        if self.waiting.pop(number, None) is not None:
            self.answers += 1

    def connected(self, fd, event):
        s = next(each for each in self.waiting if each.fileno() == fd)
        try:
            if event & select.POLLOUT:
                code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code != 0:
                    raise OSError(code, os.strerror(code))
                s.send(b"?\n")
                return poll.modify(s, select.POLLIN)
            answer = s.recv(200)
            if not answer.startswith(b"default/"):
                raise OSError(f"answer {answer}")
            self.answers += 1
        except OSError as error:
            self.lose(str(error))
        self.end(s)

    def end(self, s):
        del self.waiting[s]
        poll.unregister(s)
        del by_fd[s.fileno()]
        s.close()

    def late(self, now):
        for each in [each for each, since in self.waiting.items() if now - since > PATIENCE]:
            self.lose(f"no answer to {'a new connection' if self.kind == 'new' else f'number {each}'}")
            if self.kind == "new":
                self.end(each)
            else:
                del self.waiting[each]


def write(name, lines):
    with open(f"{name}.new", "w") as f:
        f.write("".join(f"{line}\n" for line in lines))
    os.rename(f"{name}.new", name)


if sys.argv[1] == "serve":
    serve()
out, netns, *texts = sys.argv[1:]
path = next(p for p in (f"/run/netns/{netns}", f"/var/run/netns/{netns}") if os.path.exists(p))
libc = ctypes.CDLL(None, use_errno=True)
if libc.setns(os.open(path, os.O_RDONLY), 0x40000000) != 0:
    raise OSError(ctypes.get_errno(), "setns")
poll, by_fd = select.poll(), {}
flows = [Flow(text) for text in texts]
due = told = time.monotonic()
enough = False
while not enough or any(flow.waiting for flow in flows):
    now = time.monotonic()
    if not enough and now >= due:
        # What a busy machine has missed is not caught up with.
        due = now + EVERY
        for flow in flows:
            flow.send()
    for fd, event in poll.poll(max(0, (due - time.monotonic()) * 1000) if not enough else 50):
        if fd in by_fd:
            by_fd[fd].ready(fd, event)
    if now - told > 0.1:
        told = now
        enough = enough or os.path.exists(f"{out}/enough")
        for flow in flows:
            flow.late(now)
        write(f"{out}/flows-{netns}", [f"{flow.answers} {flow.text}" for flow in flows])
write(f"{out}/lost-{netns}", [f"{flow.sent} {len(flow.lost)} {flow.text} {flow.lost[:5]}" for flow in flows])
