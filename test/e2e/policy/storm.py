#!/usr/bin/env python3
"""Many connections a second, each judged.

storm.py OUT NETNS allow|deny RATE ADDRESS PORT [ADDRESS PORT]… tries RATE new TCP connections a second, to the targets in turn,
until OUT/enough exists, and writes OUT/storm-NETNS: "TRIES RATE WRONG", and a line for each of the first wrong verdicts. Wrong is,
where all must be denied, one that is accepted, and where all must pass, one that is not answered within five seconds.
"""
import ctypes, errno, heapq, os, select, socket, struct, sys, time

out, netns, meant, rate = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
targets = list(zip(sys.argv[5::2], map(int, sys.argv[6::2])))
PATIENCE = 5
MOST_OPEN = 4000
libc = ctypes.CDLL(None, use_errno=True)
path = next(p for p in (f"/run/netns/{netns}", f"/var/run/netns/{netns}") if os.path.exists(p))
if libc.setns(os.open(path, os.O_RDONLY), 0x40000000) != 0:
    raise OSError(ctypes.get_errno(), "setns")
epoll = select.epoll()
opened, deadlines = {}, []
tries = 0
wrong = []


def begin():
    global tries
    address, port = targets[tries % len(targets)]
    tries += 1
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    s.setblocking(False)
    # A reset at the end: nothing waits for a minute in TIME_WAIT, and ports do not run out.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    code = s.connect_ex((address, port))
    opened[s.fileno()] = [s, address, time.monotonic(), False]
    if code not in (0, errno.EINPROGRESS):
        return end(s.fileno(), errno.errorcode.get(code, code))
    heapq.heappush(deadlines, (time.monotonic() + PATIENCE, s.fileno(), s))
    epoll.register(s.fileno(), select.EPOLLOUT)


def end(fd, result):
    s, address, since, _ = opened.pop(fd)
    s.close()
    if (result == "answered") != (meant == "allow"):
        wrong.append(f"{time.strftime('%H:%M:%S')} to {address}: {result} after {time.monotonic() - since:.3f} s")


def ready(fd):
    connection = opened.get(fd)
    if connection is None:
        return
    s, _, _, connected = connection
    try:
        if not connected:
            code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code != 0:
                return end(fd, errno.errorcode.get(code, code))
            if meant == "deny":
                return end(fd, "answered")
            connection[3] = True
            s.send(b"?\n")
            epoll.modify(fd, select.EPOLLIN)
        else:
            end(fd, "answered" if s.recv(200) else "closed")
    except OSError as error:
        end(fd, errno.errorcode.get(error.errno, error.errno))


def late():
    while deadlines and (deadlines[0][0] < time.monotonic() or deadlines[0][2].fileno() < 0):
        _, fd, s = heapq.heappop(deadlines)
        if s.fileno() >= 0 and fd in opened and opened[fd][0] is s:
            end(fd, "silence")


start = time.monotonic()
due = 0.0
last = start
open(f"{out}/storming-{netns}", "w").close()
done = False
while not done or opened:
    if not done and os.path.exists(f"{out}/enough"):
        done = True
        took = time.monotonic() - start
    now = time.monotonic()
    # What a busy machine has missed is not caught up with.
    due = min(due + (now - last) * rate, 50)
    last = now
    while not done and due >= 1 and len(opened) < MOST_OPEN:
        due -= 1
        begin()
    for fd, _ in epoll.poll(0.002):
        ready(fd)
    late()
with open(f"{out}/storm-{netns}", "w") as f:
    f.write("\n".join([f"{tries} {tries / took:.0f} {len(wrong)}", *wrong[:20]]) + "\n")
os.remove(f"{out}/storming-{netns}")
