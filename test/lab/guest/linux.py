"""System calls that Python 3.11 lacks (mount, setns, unshare, …), by ctypes on libc."""

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

libc = ctypes.CDLL(None, use_errno=True)


def _check(result, *words):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number) + " (" + " ".join(str(w) for w in words) + ")")
    return result


def _bytes(text):
    return None if text is None else os.fsencode(text)


def mount(source, target, kind=None, flags=0, data=None):
    _check(libc.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data)), "mount", kind or "", target)


def umount(target, flags=MNT_DETACH):
    _check(libc.umount2(_bytes(target), flags), "umount", target)


def unshare(flags):
    _check(libc.unshare(flags), "unshare")


def setns(fd, kind):
    _check(libc.setns(fd, kind), "setns")


def sethostname(name):
    raw = os.fsencode(name)
    _check(libc.sethostname(raw, len(raw)), "sethostname", name)


def pivot_root(new, old):
    _check(libc.syscall(_PIVOT_ROOT[os.uname().machine], _bytes(new), _bytes(old)), "pivot_root", new)


def insert_module(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        _check(libc.syscall(_FINIT_MODULE[os.uname().machine], fd, b"", 0), "finit_module", path)
    finally:
        os.close(fd)


def power_off():
    libc.reboot(0x4321FEDC)
