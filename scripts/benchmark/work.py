"""What is measured, run as a process of its own that lives as long as a row does.

    python3 work.py ROW-AS-JSON

Reads one request a line from standard input, {"who", "top", "fresh", "warm_up"},
does the row's work once in the tree `top`, and answers one line, {"seconds"} or
{"error"}.  `fresh` says that the tree was mounted anew, so what was noted of it is
void.  Nothing but the work lies between the two looks at the clock, and the garbage
collector is off.

Nothing here knows what a tree is mounted with.
"""
import gc
import json
import os
import statistics
import subprocess
import sys
import time

BLOCK = 1 << 20


class Tree:
    """A tree that is measured.  Its list of files is made when a work first asks."""

    def __init__(self, top):
        self.top = top
        self._files = None

    @property
    def files(self):
        if self._files is None:
            self._files = [entry for entry in self._walk() if os.path.isfile(entry)
                           and not os.path.islink(entry)]
        return self._files

    def _walk(self):
        for directory, directories, names in os.walk(self.top):
            directories.sort()
            for name in sorted(names):
                yield os.path.join(directory, name)

    def path(self, name):
        return os.path.join(self.top, name)


def environment():
    """Ours without what would change where Python or git keep things."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "GIT_", "PYTEST_"))}
    kept.update(GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", LC_ALL="C.UTF-8")
    return kept


def run(command, **options):
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: "
                           f"{said[-1] if said else 'it said nothing'}")
    return done.stdout


def read_file(path):
    fd = os.open(path, os.O_RDONLY)
    while os.read(fd, BLOCK):
        pass
    os.close(fd)


def write_file(path, size, flags):
    block = b"\xa5" * BLOCK
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    for _ in range(size // BLOCK):
        os.write(fd, block)
    os.close(fd)


# --- works: each takes a tree and the row's arguments, and returns nothing, or the
# seconds that it measured itself ---

def walk(tree):
    for directory, _, names in os.walk(tree.top):
        for name in names:
            os.lstat(os.path.join(directory, name))


def read_all(tree):
    for path in tree.files:
        read_file(path)


def open_close(tree):
    for path in tree.files:
        os.close(os.open(path, os.O_RDONLY))


def stat(tree):
    for path in tree.files:
        os.stat(path)


def miss(tree):
    for path in tree.files:
        try:
            os.stat(path + "x")
        except FileNotFoundError:
            pass


def import_modules(tree, python, modules):
    """Inside the new interpreter, so that its own start doesn't count."""
    code = ("import sys, time\n"
            f"sys.path.insert(0, {tree.top!r})\n"
            "start = time.perf_counter()\n"
            f"import {', '.join(modules)}\n"
            "print(time.perf_counter() - start)\n"
            f"assert {modules[0]}.__file__.startswith({tree.top!r})\n")
    return float(run([python, "-I", "-S", "-c", code], cwd="/").split()[-1])


def git_status(tree):
    run(["git", "-c", "safe.directory=*", "status", "--porcelain"], cwd=tree.top)


def pytest_collect(tree, python, tests):
    run([python, "-I", "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", tests],
        cwd=tree.top)


def create(tree, count):
    """As editors and compilers save: under another name first."""
    places = [tree.path(f"bench-{i}") for i in range(count)]
    text = b"#" * 1000
    for place in places:
        fd = os.open(place + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, text)
        os.close(fd)
        os.rename(place + ".new", place)
    for place in places:
        os.unlink(place)


def append(tree, count):
    path = tree.path("bench-appended")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    line = b"." * 99 + b"\n"
    start = time.perf_counter()
    for _ in range(count):
        os.write(fd, line)
    seconds = time.perf_counter() - start
    os.close(fd)
    size = os.stat(path).st_size
    os.unlink(path)
    if size != count * len(line):
        raise RuntimeError(f"{count} lines were appended, but the file has {size} bytes")
    return seconds


def read_big(tree, name):
    read_file(tree.path(name))


def write_big(tree, size, again):
    """Writes a new file; with `again` over the pages of one that was just written."""
    path = tree.path("bench-written")
    if again:
        write_file(path, size, os.O_CREAT)
    start = time.perf_counter()
    write_file(path, size, os.O_CREAT)
    seconds = time.perf_counter() - start
    os.unlink(path)
    return seconds


def read_parallel(tree, readers):
    """Processes that all read the whole tree, from a common start."""
    files = tree.files
    gate, opener = os.pipe()
    children = []
    for number in range(readers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(opener)
                os.read(gate, 1)
                # Each begins elsewhere, or all would wait for the same page.
                first = len(files) * number // readers
                for path in files[first:] + files[:first]:
                    read_file(path)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(gate)
    start = time.perf_counter()
    os.close(opener)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    seconds = time.perf_counter() - start
    if failed:
        raise RuntimeError(f"{failed} of {readers} readers failed")
    return seconds


WORKS = {work.__name__: work for work in (
    walk, read_all, open_close, stat, miss, import_modules, git_status, pytest_collect, create,
    append, read_big, write_big, read_parallel)}


def timed(work, tree, arguments):
    start = time.perf_counter()
    own = work(tree, **arguments)
    seconds = time.perf_counter() - start
    return seconds if own is None else own


def turn(row, tree):
    """One turn: with several passes the median of them, after one that warms up, since
    another's turn has had the processor's caches meanwhile."""
    work, arguments = WORKS[row["work"]], row["arguments"]
    if row["passes"] > 1:
        work(tree, **arguments)
    return statistics.median(timed(work, tree, arguments) for _ in range(row["passes"]))


def main():
    row = json.loads(sys.argv[1])
    trees = {}
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        if request["fresh"] or request["who"] not in trees:
            trees[request["who"]] = Tree(request["top"])
        try:
            answer = {"seconds": turn(row, trees[request["who"]])}
        except (OSError, RuntimeError, AssertionError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
