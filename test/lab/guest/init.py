#!/usr/bin/python3 -IS
"""The first process of the lab's guest, in user-mode Linux and in namespaces of the host alike: makes a copy-on-write root, so
that nothing on the host can be damaged, starts the hands (hands.py) and the machine room (bun), and ends the guest with them.

JOB (in the environment) is a folder of the host, shared with it: `boot.json` says what to do; the logs and the script's
output, as well as `status`, are written there."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import linux  # noqa: E402

ROOT = "/mnt/root"
VIRTUAL = ("/proc", "/sys", "/dev", "/run", "/mnt", "/tmp/.X")


def real_mounts():
    """Mount points of the host that hold files a script may use: an overlay of / does not show them."""
    with open("/proc/self/mounts") as file:
        for line in file:
            _, point, kind, *_ = line.split()
            if point != "/" and not (point + "/").startswith(tuple(v + "/" for v in VIRTUAL)) and os.path.isdir(point):
                if kind in ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs", "nfs", "nfs4", "virtiofs", "9p", "fuse.sshfs"):
                    yield point


def overlay(lower, upper, target):
    os.makedirs(upper + "/up")
    os.makedirs(upper + "/work")
    linux.mount("overlay", target, "overlay", 0, f"lowerdir={lower},upperdir={upper}/up,workdir={upper}/work")


def copy_on_write_root(boot):
    uml = boot["place"] != "host"
    if not uml:
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755")
    os.mkdir(ROOT)
    with open("/proc/filesystems") as file:
        if uml and "\toverlay\n" not in file.read():
            linux.insert_module(f"/usr/lib/uml/modules/{os.uname().release}/kernel/fs/overlayfs/overlay.ko")
    overlay("/", "/mnt/rw", ROOT)
    if not uml:
        for number, point in enumerate(sorted(real_mounts())):
            try:
                overlay(point, f"/mnt/rw{number}", ROOT + point)
            except OSError as error:
                print(f"init: {point} is not visible in the guest: {error}", file=sys.stderr)
    linux.mount("tmpfs", ROOT + "/run", "tmpfs", 0, "mode=755")
    if uml:
        linux.mount("dev", ROOT + "/dev", "devtmpfs", 0, "mode=755")
        os.makedirs(ROOT + "/dev/pts", exist_ok=True)
        os.makedirs(ROOT + "/dev/shm", exist_ok=True)
        linux.mount("pts", ROOT + "/dev/pts", "devpts")
        # What udev would make: bash's <(…) needs it.
        os.symlink("/proc/self/fd", ROOT + "/dev/fd")
        linux.mount("shm", ROOT + "/dev/shm", "tmpfs", 0, "mode=1777")
        modules = f"/usr/lib/uml/modules/{os.uname().release}"
        if os.path.isdir(modules):
            os.makedirs(ROOT + "/lib/modules", exist_ok=True)
            linux.mount("/usr/lib/uml/modules", ROOT + "/lib/modules", None, linux.MS_BIND)
    else:
        linux.mount("/dev", ROOT + "/dev", None, linux.MS_BIND | linux.MS_REC)
    linux.mount("proc", ROOT + "/proc", "proc")
    linux.mount("sys", ROOT + "/sys", "sysfs")
    try:
        linux.mount("cg", ROOT + "/sys/fs/cgroup", "cgroup2")
    except OSError:
        pass
    # Shared with the host: the job and OUT. Visible as well: folders that the mounts above hide (a script under /run). User-mode
    # Linux may have mounted a /dev of its own at boot; the host's is below.
    source = ""
    if uml:
        source = "/mnt/host"
        os.mkdir(source)
        linux.mount("/", source, None, linux.MS_BIND)
    for path in sorted(boot["shared"] + boot["visible"]):
        target = ROOT + path
        os.makedirs(target, exist_ok=True)
        linux.mount(source + path, target, None, linux.MS_BIND)
    os.makedirs(ROOT + "/oldroot", exist_ok=True)
    os.chdir(ROOT)
    linux.pivot_root(ROOT, ROOT + "/oldroot")
    os.chroot("/")
    os.chdir("/")
    linux.umount("/oldroot")
    # `ip netns` and the views bind files of the namespaces: never propagate them.
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)


def load_modules(names):
    """What is built in is not found and not missed; each module that is not named here costs 50–100 ms when it loads itself."""
    if os.path.isdir(f"/lib/modules/{os.uname().release}") and names:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
            # One unknown name must not keep the others out.
            os.execv("/sbin/modprobe", ["modprobe", "-qab", *names])
        os.waitpid(pid, 0)


def use_legacy_iptables():
    """Debian's user-mode Linux has no nf_tables for ip and ip6: there `iptables` means the old one."""
    for tool in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            link = f"/etc/alternatives/{tool}{suffix}"
            if os.path.lexists(link):
                os.unlink(link)
                os.symlink(f"/usr/sbin/{tool}-legacy{suffix}", link)


def child(action):
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except BaseException as error:  # noqa: BLE001
            print(f"init: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    return pid


def machine_room(boot):
    log = os.open(boot["job"] + "/room.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setsid()
    os.execve(boot["bun"], [boot["bun"], boot["room"], boot["job"]], boot["env"])


def hands(boot):
    log = os.open(boot["job"] + "/room.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    import hands as module
    module.main("/run/lab/hands")


def status(job, text):
    with open(job + "/status.tmp", "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(job + "/status.tmp", job + "/status")


def main():
    job = os.environ["JOB"]
    if os.environ.get("PLACE") != "host":
        # The host's own /proc is visible here: never ask whether there is one.
        linux.mount("proc", "/proc", "proc")
    null = os.open("/dev/null", os.O_RDONLY)
    log = os.open(job + "/init.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with open(job + "/boot.json") as file:
        boot = json.load(file)
    os.environ.update(boot["env"])
    sys.stdout.reconfigure(line_buffering=True)
    started = time.monotonic()
    copy_on_write_root(boot)
    load_modules(boot["modules"])
    if boot["place"] == "uml":
        use_legacy_iptables()
    os.makedirs("/run/lab/view")
    os.umask(0o022)
    print(f"init: ready after {round((time.monotonic() - started) * 1000)} ms, Linux {os.uname().release}")
    helper = child(lambda: hands(boot))
    room = child(lambda: machine_room(boot))
    result = None
    while result is None:
        pid, code = os.wait()
        if pid == helper:
            print(f"init: the hands ended with {code}")
        if pid == room:
            result = code
    if not os.path.exists(job + "/status"):
        status(job, f"125 the machine room ended with {result}, see room.log")
    os.sync()


try:
    main()
except BaseException as error:  # noqa: BLE001
    import traceback
    traceback.print_exc()
    status(os.environ["JOB"], f"125 the guest's start failed: {error}")
if os.environ.get("PLACE") != "host":
    linux.power_off()
    while True:
        time.sleep(1)
os._exit(0)
