"""The filesystems that take turns, and how each is mounted and unmounted.

A filesystem gets a directory of its own with a copy of the tree (`lower`), an empty
directory (`upper`, for those that keep changes apart: on the tree's disk, so that what
is written costs the same as elsewhere) and a mountpoint.
What is mounted is unmounted by close(), whatever state the daemon is in.
"""
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

IS_ROOT = os.geteuid() == 0


class Unavailable(Exception):
    """A filesystem can't be measured here; its text says why."""


def overlay_words(lower, upper):
    return f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work"


@dataclass
class Kind:
    """A kind of filesystem.  `words` makes the arguments from (lower, upper, top); the
    options are those with which it is fastest and still right for one user."""
    name: str
    title: str
    programs: tuple = ()
    package: str = ""
    words: object = None
    in_place: bool = False
    keeps_apart: bool = False   # changes go to `upper`, and not to the tree
    apart_in_memory: bool = False   # `upper` is on tmpfs
    daemon: bool = True
    peer: bool = True

    def find(self, ours):
        """The program's path.  Raises Unavailable."""
        if self.name == "pycachefs":
            return ours
        for program in self.programs:
            path = shutil.which(program)
            if path:
                break
        else:
            raise Unavailable(f"{self.programs[0]} is not installed")
        if self.name == "overlayfs" and not IS_ROOT:
            raise Unavailable("mounting overlayfs needs root")
        return path


LONG = 86400

KINDS = (
    Kind("native", "native", daemon=False, peer=False),
    Kind("pycachefs", "pycachefs", in_place=True, peer=False,
         words=lambda lower, upper, top: [lower]),
    Kind("bindfs", "bindfs", ("bindfs",), "bindfs",
         words=lambda lower, upper, top: [
             "--multithreaded", "-o", f"attr_timeout={LONG},entry_timeout={LONG},"
             f"negative_timeout={LONG},kernel_cache", lower, top]),
    Kind("unionfs-fuse", "unionfs-fuse", ("unionfs-fuse", "unionfs"), "unionfs-fuse",
         words=lambda lower, upper, top: [
             "-o", f"cow,attr_timeout={LONG},entry_timeout={LONG},"
             f"negative_timeout={LONG},kernel_cache", f"{upper}=RW:{lower}=RO", top],
         keeps_apart=True),
    Kind("fuse-overlayfs", "fuse-overlayfs", ("fuse-overlayfs",), "fuse-overlayfs",
         words=lambda lower, upper, top: ["-o", overlay_words(lower, upper), top],
         keeps_apart=True),
    Kind("mergerfs", "mergerfs", ("mergerfs",), "mergerfs",
         words=lambda lower, upper, top: [
             "-o", f"cache.attr={LONG},cache.entry={LONG},cache.negative_entry={LONG},"
             "cache.files=auto-full,cache.readdir=true,cache.symlinks=true", lower, top]),
    Kind("overlayfs", "overlayfs, tmpfs upper", ("mount",), "", daemon=False,
         words=lambda lower, upper, top: [
             "-t", "overlay", "overlay", "-o", overlay_words(lower, upper), top],
         keeps_apart=True, apart_in_memory=True),
)

PEERS = [kind.name for kind in KINDS if kind.peer]


def version_of(kind, program):
    """What the program says of its own version, and not of libfuse's."""
    if not kind.daemon:
        return f"Linux {os.uname().release}"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if line.startswith(kind.name)), "unknown")


@dataclass
class Filesystem:
    """One of them with its places, mounted or not."""
    kind: Kind
    program: str
    lower: str
    upper: str
    mountpoint: str
    memory: str                 # a place on tmpfs that need not exist
    daemon: subprocess.Popen = None
    mounted: bool = field(default=False)

    @property
    def name(self):
        return self.kind.name

    @property
    def top(self):
        """Where its tree is seen."""
        in_place = self.kind.in_place or not self.kind.words
        return self.lower if in_place else self.mountpoint

    def command(self, foreground):
        words = self.kind.words(self.lower, self.upper, self.top)
        return [self.program, *(["-f"] if foreground and self.kind.daemon else []), *words]

    def wipe(self):
        """Empties what it has kept apart, and takes all bytecode out of the tree."""
        if os.path.isdir(self.upper):
            shutil.rmtree(self.upper)
        for name in ("upper", "work") if "overlay" in self.name else ("",):
            os.makedirs(os.path.join(self.upper, name))
        if not self.kind.keeps_apart:
            strip(self.lower)

    @contextmanager
    def in_memory(self):
        """Meanwhile it is one of an empty tree on tmpfs, and all else of it is there too."""
        before = self.lower, self.upper
        self.lower, self.upper = self.memory + ".lower", self.memory + ".upper"
        os.makedirs(self.lower)
        try:
            yield
        finally:
            self.close()
            for place in (self.lower, self.upper):
                shutil.rmtree(place, ignore_errors=True)
            self.lower, self.upper = before

    def mount(self):
        """Mounts it with the daemon in the foreground, and returns when it is usable.
        Raises Unavailable."""
        if not self.kind.words:
            return
        before = os.stat(self.top).st_dev
        # Noted first, so that an interrupt at any moment finds it.
        self.mounted = True
        # Not a pipe: a daemon that says much would wait for a reader.
        with open(self.mountpoint + ".log", "w+b") as log:
            with uninterrupted():
                process = subprocess.Popen(
                    self.command(foreground=True), stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, start_new_session=True, cwd="/")
                self.daemon = process if self.kind.daemon else None
            if self.kind.daemon:
                wait_for(lambda: process.poll() is not None
                         or os.stat(self.top).st_dev != before, 20)
            else:
                process.wait()
            if os.stat(self.top).st_dev == before:
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                self.close()
                raise Unavailable(f"can't be mounted: {said[-1] if said else 'it said nothing'}")

    def mount_seconds(self):
        """Mounts it as a user does, and returns the time until a name in it is answered."""
        name = next(entry.path for entry in os.scandir(self.lower) if entry.is_dir())
        name = os.path.join(self.top, os.path.relpath(name, self.lower))
        before = os.stat(self.lower).st_dev
        self.mounted = True
        start = time.perf_counter()
        # Stopped half-way, it might mount when nobody looks any more.
        with uninterrupted():
            done = subprocess.run(self.command(foreground=False), stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, check=False, cwd="/")
        if done.returncode == 0:
            os.lstat(name)
        seconds = time.perf_counter() - start
        if done.returncode != 0 or (self.kind.daemon and os.stat(self.top).st_dev == before):
            self.close()
            raise Unavailable(f"can't be mounted: {done.stderr.strip()[-200:]}")
        return seconds

    def close(self):
        """Unmounts it and sees its daemon end.  What does not end is made to."""
        if self.mounted and self.kind.words:
            if not wait_for(lambda: not is_mounted(self.top) or unmount(self.top), 5):
                unmount(self.top, lazily=True)
        self.mounted = False
        if self.daemon:
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        self.daemon = None

    def abort(self):
        """For one that no longer answers: its daemon goes first."""
        if self.daemon:
            self.daemon.kill()
        self.close()

    def figures(self):
        """Resident memory in MiB and open descriptors of its daemon."""
        process = f"/proc/{self.daemon.pid}"
        with open(process + "/status", encoding="utf-8") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        return {"resident_mib": resident / 1024, "descriptors": len(os.listdir(process + "/fd"))}


def strip(top):
    """Removes every __pycache__ of a tree, without looking into a repository."""
    for directory, names, _ in os.walk(top):
        if "__pycache__" in names:
            shutil.rmtree(os.path.join(directory, "__pycache__"))
        names[:] = [name for name in names if name not in ("__pycache__", ".git")]


@contextmanager
def uninterrupted():
    """Signals wait until the block is done."""
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_for(done, seconds):
    """Calls done() until it is true; false after so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def mountpoints():
    """Where anything is mounted, without asking what may be dead."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return [unescape(line.split()[4]) for line in mounts]


def is_mounted(path):
    return path in mountpoints()


def unescape(word):
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, letter)
    return word


def unmount(path, lazily=False):
    """One try.  True when nothing is mounted at the path any more."""
    command = ["umount", *(["-l"] if lazily else []), path] if IS_ROOT else [
        "fusermount3", "-u", *(["-z"] if lazily else []), path]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return not is_mounted(path)
