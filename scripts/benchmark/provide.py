"""What a run needs: the program, the peers, a tree and the interpreters."""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from benchmark import work
from benchmark.filesystems import strip

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Missing(Exception):
    """What a run can't do without is not there; its text says what, and why."""


@dataclass
class Tree:
    """A tree of sources, and what can be done with it."""
    title: str
    path: str
    modules: list
    tests: str
    about: dict = field(default_factory=dict)


@dataclass
class Interpreter:
    path: str
    version: str    # major and minor


def shell(words, *arguments):
    """Runs words of the scripts' shell library.  Returns what is wrong, or None."""
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; . {TOP}/scripts/lib.sh; {words}", "bench",
         *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stdout.strip().splitlines() or ["it said nothing"])[-1]


def set_up():
    """Builds the program.  Returns its path."""
    if subprocess.run([os.path.join(TOP, "scripts", "setup")], check=False).returncode != 0:
        raise Missing("scripts/setup failed")
    return os.path.join(TOP, "build", "pycachefs")


def install(packages):
    """Installs Debian packages one by one, since one may be missing in a release.
    Returns, for each that could not be had, why."""
    failed = {}
    for package in packages:
        wrong = shell('ensure_packages "$@"', package)
        if wrong:
            failed[package] = wrong
    return failed


# --- trees ---

def real_tree(packages=("python3-sympy", "python3-mpmath", "python3-django")):
    """Debian's sources of sympy and Django, kept in build/bench-tree from run to run.
    The packages are unpacked, not installed: so no other tree of them is on the
    interpreter's path, and no root is needed."""
    path = os.path.join(TOP, "build", "bench-tree")
    kept = os.path.join(path, "usr/lib/python3/dist-packages")
    if not os.path.isdir(path):
        unpack(packages, path)
    with open(os.path.join(path, "versions"), encoding="utf-8") as versions:
        about = {"packages": versions.read().split()}
    return Tree("sympy", kept, ["sympy"], "sympy/core/tests", about)


def unpack(packages, path):
    new = path + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    wrong = shell("""cd "$1"; shift
        apt-get -qq download "$@" || { refresh_lists; apt-get -qq download "$@"; }
        for file in *.deb; do dpkg-deb --extract "$file" .; done
        printf '%s\\n' *.deb >versions; rm ./*.deb""", new, *packages)
    if wrong:
        shutil.rmtree(new)
        raise Missing(f"can't get {', '.join(packages)}: {wrong}; --files=N makes a tree instead")
    os.rename(new, path)


def made_tree(path, count):
    """A tree of about so many modules, forty in a package, each importing another."""
    packages = max(1, count // 40)
    each = max(1, count // packages)
    functions = "".join(f"def f{i}(a, b):\n    return a + b * {i}\n\n\n" for i in range(30))
    everything = []
    for package in range(packages):
        directory = os.path.join(path, "sample", f"pkg{package}")
        os.makedirs(directory)
        for number in range(each):
            name = f"m{number}" if number else "__init__"
            write(os.path.join(directory, name + ".py"), functions)
            if number:
                everything.append(f"import sample.pkg{package}.{name}\n")
    write(os.path.join(path, "sample", "__init__.py"), "".join(everything))
    os.mkdir(os.path.join(path, "tests"))
    # A package: so pytest takes the directory above it for the one to import from.
    write(os.path.join(path, "tests", "__init__.py"), "")
    test = "import sample.pkg0\n\n\ndef test_it():\n    assert sample.pkg0.f1(1, 0) == 1\n"
    for number in range(max(1, count // 100)):
        write(os.path.join(path, "tests", f"test_{number}.py"), test)
    return Tree("the sample", path, ["sample"], "tests")


def write(path, text):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def make_repository(tree, path):
    """Copies a tree without bytecode to a new path and makes a git repository of it."""
    shutil.copytree(tree.path, path, symlinks=True)
    strip(path)
    write(os.path.join(path, ".gitignore"), "__pycache__/\n")
    for words in (["init", "-q", "--template="], ["add", "-A"],
                  ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm",
                   "All of it"], ["repack", "-adq"]):
        # Nothing may go on in the background.
        work.run(["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", *words], cwd=path)
    tree.about.update(files=len(work.Tree(path).files),
                      bytes=sum(os.path.getsize(name) for name in work.Tree(path).files))


# --- interpreters ---

def interpreters(tree):
    """One interpreter of each version of CPython 3: what `python3` is first, then those on
    PATH, then pyenv's.  Returns those that can import the tree, oldest first behind the
    first, and why others can't."""
    fit, unfit = [], {}
    for path in interpreter_paths():
        version = version_of(path)
        if not version or version in unfit or version in [other.version for other in fit]:
            continue
        try:
            work.import_modules(work.Tree(tree.path), path, tree.modules)
            fit.append(Interpreter(path, version))
        except RuntimeError as error:
            unfit[version] = f"{path} can't import {tree.title}: {error}"
    strip(tree.path)
    if not fit:
        raise Missing(f"no Python here can import {tree.title}: {unfit}")
    order = sorted(fit[1:], key=lambda one: [int(part) for part in one.version.split(".")])
    return [fit[0], *order], unfit


def python_with_pytest():
    """A Python that has pytest, Debian's first; None when there is none."""
    for path in ("/usr/bin/python3", *interpreter_paths()):
        if os.path.exists(path) and subprocess.run(
                [path, "-I", "-c", "import pytest"], stdin=subprocess.DEVNULL,
                capture_output=True, check=False).returncode == 0:
            return path
    return None


def interpreter_paths():
    name = re.compile(r"python3(\.\d+)?$")
    first = shutil.which("python3")
    if first:
        yield first
    directories = os.environ.get("PATH", "").split(":")
    pyenv = os.path.expanduser("~/.pyenv/versions")
    if os.path.isdir(pyenv):
        directories += [os.path.join(pyenv, version, "bin")
                        for version in sorted(os.listdir(pyenv))]
    for directory in directories:
        if os.path.isdir(directory):
            yield from (os.path.join(directory, entry) for entry in sorted(os.listdir(directory))
                        if name.match(entry))


def version_of(path):
    """"3.11" for a CPython, None for anything else."""
    done = subprocess.run(
        [path, "-I", "-S", "-c", "import sys; print(sys.implementation.name, "
         "'%d.%d' % sys.version_info[:2])"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False)
    words = done.stdout.split()
    return words[1] if done.returncode == 0 and words[:1] == ["cpython"] else None
