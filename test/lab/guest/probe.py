"""Probes: one question each from a namespace, many at a time; and the plain HTTP GET by which agents are asked how they are."""

import errno
import select
import socket
import time

from netns import Missing

IN, OUT = select.EPOLLIN, select.EPOLLOUT
PARALLEL = 64
PROTOCOLS = {"TCP": (socket.SOCK_STREAM, 0), "UDP": (socket.SOCK_DGRAM, 0), "SCTP": (socket.SOCK_STREAM, 132)}
# Below Linux's own choice (32768–60999) nothing would collide with it, but node ports live there: take the upper half of it.
FIRST_PORT, LAST_PORT = 40000, 60999


class Prober:
    def __init__(self, loop, namespaces):
        self.loop = loop
        self.namespaces = namespaces
        self.ports = {}

    def batch(self, probes, emit, done):
        """Calls `emit(result)` for each probe as it ends, in any order, then `done()`."""
        waiting = list(reversed(probes))
        state = {"open": 0}

        def finish(result):
            state["open"] -= 1
            emit(result)
            fill()

        def fill():
            while waiting and state["open"] < PARALLEL:
                state["open"] += 1
                probe = waiting.pop()
                try:
                    Probe(self, probe, finish)
                except (OSError, Missing, ValueError, TypeError, KeyError) as error:
                    state["open"] -= 1
                    emit({**probe, "result": "error", "error": str(error), "ms": 0} if isinstance(probe, dict) else {"result": "error", "error": str(error)})
            if not waiting and not state["open"]:
                state["open"] = -1
                done()

        fill()

    def port(self, ns):
        """A source port that this namespace's probes have not had for the last 21,000: IPVS and conntrack remember old ones."""
        number = self.ports.get(ns, FIRST_PORT - 1) + 1
        if number > LAST_PORT:
            number = FIRST_PORT
        self.ports[ns] = number
        return number


class Probe:
    def __init__(self, prober, spec, finish):
        if not isinstance(spec, dict):
            raise ValueError("not a JSON object")
        self.loop = prober.loop
        self.spec = spec
        self.finish = finish
        self.answer = b""
        self.connected = False
        to, port = spec["to"], int(spec["port"])
        protocol = str(spec.get("protocol") or "TCP").upper()
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol '{protocol}' is not TCP, UDP or SCTP")
        self.protocol = protocol
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        socket.inet_pton(family, to)
        ns = str(spec["from"]).replace("/", "-")
        kind, number = PROTOCOLS[protocol]
        self.socket = prober.namespaces.within(ns, lambda: socket.socket(family, kind, number))
        try:
            self.socket.setblocking(False)
            self._bind(prober, ns, family)
            self.started = time.monotonic()
            self.timer = self.loop.after(float(spec.get("timeoutMs") or 1000) / 1000, lambda: self.end("timeout"))
            error = self.socket.connect_ex((to, port))
        except OSError:
            self.socket.close()
            raise
        if error not in (0, errno.EINPROGRESS):
            return self.later(error)
        if protocol == "UDP":
            self.connected = True
            try:
                self.socket.send(b"lab\n")
            except OSError as problem:
                return self.later(problem.errno)
            self.loop.watch(self.socket.fileno(), IN, self.ready)
        else:
            self.loop.watch(self.socket.fileno(), OUT, self.ready)

    def _bind(self, prober, ns, family):
        any_address = "::" if family == socket.AF_INET6 else "0.0.0.0"
        for _ in range(100):
            try:
                return self.socket.bind((any_address, prober.port(ns)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, "no free source port")

    def later(self, error):
        # Not at once: `finish` must not run before the constructor has returned.
        self.timer[0] = None
        self.loop.after(0, lambda: self.fail(error))

    def ready(self, _events):
        try:
            if not self.connected:
                error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    return self.fail(error)
                self.connected = True
                self.socket.send(b"lab\n")
                self.loop.watch(self.socket.fileno(), IN, self.ready)
                return
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as problem:
            return self.fail(problem.errno)
        self.answer += data
        if self.protocol == "UDP" or not data or b"\n" in self.answer:
            if self.answer:
                self.end("ok", answer=self.answer.decode("utf-8", "replace").rstrip("\n"))
            else:
                self.end("error", error="closed without an answer")

    def fail(self, number):
        if number == errno.ECONNREFUSED or (number == errno.EPERM and self.protocol == "UDP"):
            self.end("refused")
        elif number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            self.end("unreachable")
        elif number == errno.ETIMEDOUT:
            self.end("timeout")
        else:
            self.end("error", error=errno.errorcode.get(number, str(number)))

    def end(self, result, **more):
        self.timer[0] = None
        if self.socket.fileno() >= 0:
            self.loop.forget(self.socket.fileno())
            self.socket.close()
        ms = round((time.monotonic() - self.started) * 1000, 1)
        self.finish({**self.spec, "result": result, **more, "ms": ms})


class Get:
    """HTTP GET of 127.0.0.1 in a namespace; `done(status, body)`, status 0 with the reason as body where nothing answers."""

    def __init__(self, loop, namespaces, ns, port, path, seconds, done):
        self.loop, self.done, self.data, self.path = loop, done, b"", path
        self.socket = namespaces.within(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.socket.setblocking(False)
        self.timer = loop.after(seconds, lambda: self.end(0, "no answer in time"))
        error = self.socket.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            loop.after(0, lambda: self.end(0, errno.errorcode.get(error, str(error))))
        else:
            loop.watch(self.socket.fileno(), OUT, self.send)

    def send(self, _events):
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return self.end(0, errno.errorcode.get(error, str(error)))
        self.socket.send(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        self.loop.watch(self.socket.fileno(), IN, self.read)

    def read(self, _events):
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError as error:
            return self.end(0, str(error))
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return None if data else self.end(0, "closed without an answer")
        lower = head.lower()
        length = lower.partition(b"content-length:")[2].split(b"\r\n")[0].strip()
        if length and len(body) >= int(length) or not data or (b"transfer-encoding: chunked" in lower and body.endswith(b"0\r\n\r\n")):
            if b"transfer-encoding: chunked" in lower:
                body = _unchunk(body)
            self.end(int(head.split(b" ", 2)[1]), body.decode("utf-8", "replace"))

    def end(self, status, body):
        if self.socket.fileno() < 0:
            return
        self.timer[0] = None
        self.loop.forget(self.socket.fileno())
        self.socket.close()
        self.done(status, body)


def _unchunk(body):
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        count = int(size.split(b";")[0] or b"0", 16)
        if not count:
            break
        out += rest[:count]
        body = rest[count + 2:]
    return out
