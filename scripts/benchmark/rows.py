"""The rows: what is measured, in which state, and how often.

A row names a work of work.py.  How long the work takes natively is what the others
are divided by; the rows at the end have no such thing and are figures of a mount.
"""
from dataclasses import asdict, dataclass, field


@dataclass
class Scale:
    """How much of everything there is."""
    rounds: int
    passes: int
    big: int            # bytes of the big file
    made: int           # files that are created, renamed, unlinked
    appended: int       # lines
    some: int           # files under a mount whose memory is looked at
    many: int
    settle: bool        # wait for the disk before work that writes


FULL = Scale(rounds=7, passes=3, big=1 << 30, made=500, appended=2000, some=100_000,
             many=1_000_000, settle=True)
QUICK = Scale(rounds=3, passes=1, big=32 << 20, made=100, appended=200, some=1000, many=3000,
              settle=False)


@dataclass
class Row:
    """What `work` is given, and what is done before each turn."""
    name: str
    label: str
    work: str
    arguments: dict = field(default_factory=dict)
    passes: int = 1
    remount: bool = False   # mounted anew, with nothing kept from earlier
    cold: bool = False      # nothing in the page cache (root only)
    settle: bool = False    # earlier writes have reached the disk
    big: int = 0            # bytes of the file `bench-big` that it reads
    in_memory: bool = False     # in an empty tree on tmpfs, whoever keeps changes where
    peers: bool = True
    chart: bool = False

    @property
    def fresh(self):
        """Whether each turn finds another mount than the one before."""
        return self.remount or self.cold

    def describe(self):
        return asdict(self)


@dataclass
class Figure:
    """A figure of a mount, not a ratio: "mount", "run", or "memory" with so many files."""
    name: str
    label: str
    what: str
    files: int = 0
    peers: bool = True

    def describe(self):
        return asdict(self)


def size_of(count):
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if count >= 1 << power:
            return f"{count >> power} {unit}"
    return f"{count} bytes"


def imports(scale, tree, interpreters):
    """The first import of all, and a warm one with every interpreter."""
    yield Row("import-first", f"first import of {tree.title}", "import_modules",
              {"python": interpreters[0].path, "modules": tree.modules},
              remount=True, settle=scale.settle, chart=True)
    for interpreter in interpreters:
        yield Row(f"import-{interpreter.version}",
                  f"warm import of {tree.title}, CPython {interpreter.version}",
                  "import_modules", {"python": interpreter.path, "modules": tree.modules},
                  chart=interpreter is interpreters[0])


def big_file(scale):
    size = size_of(scale.big)
    name = {"name": "bench-big"}
    yield Row("read-cold", f"read {size}, cold", "read_big", name, cold=True, big=scale.big,
              chart=True)
    yield Row("read-warm", f"read {size}, warm", "read_big", name, passes=scale.passes,
              big=scale.big, chart=True)
    yield Row("write-cold", f"write {size}, new file, cold", "write_big",
              {"size": scale.big, "again": False}, cold=True)
    yield Row("write-warm", f"write {size} over itself, warm", "write_big",
              {"size": scale.big, "again": True}, settle=scale.settle)


def all_rows(scale, tree, interpreters, pytest_python):
    """All rows that this machine might measure, in order.  `pytest_python` is the path of
    one that has pytest, or None."""
    many = scale.passes
    return [
        *imports(scale, tree, interpreters),
        Row("walk", "walk + lstat", "walk", passes=many, chart=True),
        Row("read-all", "read all files", "read_all", passes=many, chart=True),
        Row("open-close", "open + close", "open_close", passes=many, chart=True),
        Row("stat", "stat", "stat", passes=many, chart=True),
        Row("miss", "stat of absent names", "miss", passes=many, chart=True),
        Row("git-status", "git status", "git_status", passes=many, chart=True),
        Row("pytest", "pytest --collect-only", "pytest_collect",
            {"python": pytest_python, "tests": tree.tests}, chart=True),
        Row("create", f"create, write, rename, unlink {scale.made} files", "create",
            {"count": scale.made}, settle=scale.settle, chart=True),
        Row("create-memory", "the same, all on tmpfs", "create", {"count": scale.made},
            passes=many, in_memory=True),
        Row("append", f"{scale.appended} appends of 100 bytes", "append",
            {"count": scale.appended}, passes=many, settle=scale.settle),
        *big_file(scale),
        Row("readers-2", "read all files, 2 processes", "read_parallel", {"readers": 2},
            passes=many),
        Row("readers-8", "read all files, 8 processes", "read_parallel", {"readers": 8},
            passes=many),
        Figure("mount", "time to mount", "mount"),
        Figure("run", "`run -- true`, and what it takes more than `unshare -Urm true`", "run",
               peers=False),
        Figure("memory", f"{scale.some:,} files walked", "memory", scale.some),
        Figure("memory-many", f"{scale.many:,} files walked", "memory", scale.many, peers=False),
    ]
