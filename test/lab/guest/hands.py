"""The hands of the machine room: one process that builds namespaces, serves pods and probes, told what to do by JSON lines on
a unix socket. Requests carry `id` and `op`; each gets lines with that id, the last with `ok` or `error`."""

import json
import os
import resource
import select
import socket

import linux
from loop import Loop
from netns import Missing, Namespaces
from probe import Get, Prober
from serve import Relay, Servers

VIEWS = "/run/lab/view"


class Hands:
    def __init__(self, path):
        self.loop = Loop()
        self.namespaces = Namespaces()
        self.servers = Servers(self.loop, self.namespaces)
        self.relays = {}
        self.prober = Prober(self.loop, self.namespaces)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.loop.watch(self.listener.fileno(), select.EPOLLIN, self._accept)
        self.connection = None
        self.input, self.output = b"", b""

    def _accept(self, _events):
        self.connection, _ = self.listener.accept()
        self.connection.setblocking(False)
        self.loop.watch(self.connection.fileno(), select.EPOLLIN, self._io)

    def _io(self, events):
        if events & select.EPOLLOUT:
            self._flush()
        if not events & (select.EPOLLIN | select.EPOLLHUP):
            return
        try:
            data = self.connection.recv(1 << 20)
        except BlockingIOError:
            return
        if not data:
            os._exit(0)  # the machine room is gone, and the lab with it
        *lines, self.input = (self.input + data).split(b"\n")
        for line in lines:
            self._request(json.loads(line))

    def _say(self, message):
        self.output += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def _flush(self):
        try:
            while self.output:
                self.output = self.output[self.connection.send(self.output[: 1 << 18]):]
        except BlockingIOError:
            pass
        self.loop.watch(self.connection.fileno(), select.EPOLLIN | (select.EPOLLOUT if self.output else 0), self._io)

    def _request(self, request):
        ident = request["id"]
        try:
            result = getattr(self, "do_" + request["op"])(request)
            if result is not None:
                self._say({"id": ident, "ok": result})
        except (OSError, Missing, KeyError, ValueError) as error:
            self._say({"id": ident, "error": str(error)})

    # -- operations

    def do_build(self, request):
        """Steps: [method, argument…] of Namespaces, or `view`; stops at the first that fails."""
        for name, *arguments in request["steps"]:
            if name == "view":
                self.view(*arguments)
            else:
                getattr(self.namespaces, name)(*arguments)
        return True

    def do_serve(self, request):
        return self.servers.serve(request["pod"], request["ns"], request["ports"])

    def do_unserve(self, request):
        self.servers.stop(request["pod"])
        return True

    def do_relay(self, request):
        key = (request["ns"], request["address"], request["port"])
        if key not in self.relays:
            self.relays[key] = Relay(self.loop, self.namespaces, *key, request["to"])
        return True

    def do_unrelay(self, request):
        relay = self.relays.pop((request["ns"], request["address"], request["port"]), None)
        if relay:
            relay.close()
        return True

    def do_probe(self, request):
        ident = request["id"]
        self.prober.batch(request["probes"], lambda result: self._say({"id": ident, "item": result}), lambda: self._say({"id": ident, "ok": True}))

    def do_get(self, request):
        ident = request["id"]
        Get(self.loop, self.namespaces, request["ns"], request["port"], request["path"], request.get("seconds", 2),
            lambda status, body: self._say({"id": ident, "ok": {"status": status, "body": body}}))

    def view(self, name, hostname, folders):
        """A mount and UTS namespace for a host: its own hostname, /sys, xtables lock and state folders."""
        folder = f"{VIEWS}/{name}"
        os.makedirs(folder)
        for path in folders:
            os.makedirs(path, exist_ok=True)
        for path in ("/run/xtables.lock", f"{folder}/xtables.lock"):
            open(path, "a").close()
        ready, release = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                linux.setns(self.namespaces.fd(name), linux.CLONE_NEWNET)
                linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS)
                linux.sethostname(hostname)
                linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
                linux.umount("/sys")
                linux.mount("sysfs", "/sys", "sysfs")  # shows the interfaces of the namespace it is mounted from
                linux.mount(f"{folder}/xtables.lock", "/run/xtables.lock", None, linux.MS_BIND)
                for path in folders:
                    linux.mount("tmpfs", path, "tmpfs", 0, "mode=755")
                os.write(ready[1], b"1")
                os.read(release[0], 1)
                status = 0
            except OSError as error:
                os.write(ready[1], f"0{error}".encode())
            finally:
                os._exit(status)
        answer = os.read(ready[0], 4096)
        try:
            if answer[:1] != b"1":
                raise OSError(f"view of '{name}': {answer[1:].decode()}")
            # Linux 6.18 refuses now and then to bind the file of a mount namespace (it compares numbers that are handed out by
            # CPU): keep it open and point at that.
            for kind in ("mnt", "uts"):
                fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                os.symlink(f"/proc/{os.getpid()}/fd/{fd}", f"{folder}/{kind}")
        finally:
            os.write(release[1], b"1")
            os.waitpid(pid, 0)
            for fd in (*ready, *release):
                os.close(fd)


def main(path):
    # A few per pod.
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 19, 1 << 19))
    except (OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    hands = Hands(path)
    hands.loop.run()
