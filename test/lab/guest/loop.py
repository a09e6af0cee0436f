"""A small event loop on epoll: callbacks by file descriptor, timers by deadline."""

import heapq
import itertools
import select
import time


class Loop:
    def __init__(self):
        self.poll = select.epoll()
        self.handlers = {}
        self.timers = []
        self.order = itertools.count()

    def watch(self, fd, events, handler):
        if fd in self.handlers:
            self.poll.modify(fd, events)
        else:
            self.poll.register(fd, events)
        self.handlers[fd] = handler

    def forget(self, fd):
        if self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def after(self, seconds, action):
        """Returns a one-element list; setting it to [None] cancels the timer."""
        entry = [action]
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), entry))
        return entry

    def run(self):
        while True:
            wait = -1
            while self.timers:
                if self.timers[0][2][0] is None:
                    heapq.heappop(self.timers)
                    continue
                wait = self.timers[0][0] - time.monotonic()
                if wait > 0:
                    break
                _, _, entry = heapq.heappop(self.timers)
                entry[0]()
                wait = -1
            for fd, events in self.poll.poll(wait if wait > 0 else -1):
                handler = self.handlers.get(fd)
                if handler:
                    handler(events)
