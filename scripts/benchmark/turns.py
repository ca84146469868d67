"""Takes turns: native, one filesystem after the other, again and again.

A round is one turn of each, and the next round begins with another one.  What
counts is a turn's time divided by native's of the same round, so what slows the
machine down for a while slows both.  Rounds up to 0 warm up and are not counted.
"""
import json
import os
import select
import statistics
import subprocess
import sys
import time

from benchmark.filesystems import Unavailable
from benchmark.rows import Row

# A turn that takes longer than this is given up, and its filesystem with it.
PATIENCE = 600

# What takes a few milliseconds is done so often for a round.
RUNS = 20


class Worker:
    """The process in which a row's work is done."""

    def __init__(self, row):
        self.command = [sys.executable, "-I", "-B",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "work.py"),
                        json.dumps(row.describe())]
        self.process = None

    def ask(self, filesystem, fresh):
        """One turn.  Returns seconds.  Raises Unavailable."""
        if not self.process:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
                start_new_session=True)
        request = {"who": filesystem.name, "top": filesystem.top, "fresh": fresh}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            filesystem.abort()
            self.close()
            raise Unavailable(f"no answer within {PATIENCE} s")
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise Unavailable("the worker died")
        answer = json.loads(line)
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer["seconds"]

    def close(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as out:
        out.write("3")


def remount(filesystem):
    filesystem.close()
    filesystem.wipe()
    filesystem.mount()


def prepare(row, filesystem):
    """What has to be so before a turn."""
    if row.remount:
        remount(filesystem)
    if row.cold:
        # A mount's own caches hold what is below: they go with the mount.
        filesystem.close()
        drop_caches()
        filesystem.mount()
    elif row.settle:
        os.sync()


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def requests_of(filesystem):
    """What our daemon has been asked so far, by operation; None for others."""
    if filesystem.name != "pycachefs" or not filesystem.mounted:
        return None
    status = json.loads(os.getxattr(filesystem.top, "user.pycachefs.status"))
    return status["requests"]


def measure(row, filesystems, rounds, big, tell):
    """All rounds of a row; `big` is the big file, if the row reads one.
    Returns {name: {"seconds": [...]} or {"reason": ...}}."""
    results = {one.name: {"seconds": []} for one in filesystems}
    worker = Worker(row)
    alive = list(filesystems)
    try:
        for one in filesystems:
            give_up_on_error(results, alive, one, lambda one=one: start(row, one, big))
        for number in range(1 if row.fresh else -1, rounds + 1):
            tell(f"{row.label}: round {number} of {rounds}")
            for one in rotated(list(alive), number):
                give_up_on_error(results, alive, one,
                                 lambda one=one, number=number: take_turn(
                                     row, worker, one, number, rounds, results[one.name]))
            if filesystems[0] not in alive:
                # Nothing to compare with: only the reason is left.
                return {filesystems[0].name: results[filesystems[0].name]}
    finally:
        worker.close()
        for one in filesystems:
            one.close()
            if row.big:
                remove(os.path.join(one.lower, "bench-big"))
    return results


def start(row, one, big):
    one.close()
    one.wipe()
    if row.big:
        # One file under several names: the same blocks of the disk for all.
        os.link(big, os.path.join(one.lower, "bench-big"))
    one.mount()


def take_turn(row, worker, one, number, rounds, result):
    prepare(row, one)
    before = requests_of(one) if number == rounds and not row.fresh else None
    seconds = worker.ask(one, row.fresh)
    if number > 0:
        result["seconds"].append(seconds)
    if before is not None:
        after = requests_of(one)
        # What the question itself costs is in there: a GETXATTR or two.
        result["requests_of_last_turn"] = {
            name: count - before.get(name, 0) for name, count in after.items()
            if count != before.get(name, 0)}


def give_up_on_error(results, alive, one, call):
    """Calls it; a filesystem that fails is out of the row, and the row goes on."""
    try:
        call()
    except (Unavailable, OSError) as error:
        results[one.name] = {"reason": str(error)}
        alive.remove(one)
        one.close()


def remove(path):
    if os.path.lexists(path):
        os.unlink(path)


# --- figures ---

def mount_times(filesystems, rounds, tell):
    """How long it takes from the command to the first answer."""
    results = {one.name: {"seconds": []} for one in filesystems}
    alive = [one for one in filesystems if one.kind.words]
    for one in filesystems:
        if one not in alive:
            results[one.name] = {"reason": "nothing is mounted"}

    def turn(one, number):
        one.wipe()
        seconds = one.mount_seconds()
        one.close()
        if number > 0:
            results[one.name]["seconds"].append(seconds)

    for number in range(rounds + 1):
        tell(f"time to mount: round {number} of {rounds}")
        for one in rotated(list(alive), number) if alive else []:
            give_up_on_error(results, alive, one, lambda one=one: turn(one, number))
    return results


def run_times(filesystems, rounds, tell):
    """How long `run` takes for a command that does nothing, beside a program that makes
    namespaces as well and mounts nothing.  A round is the median of many, in turns."""
    ours = next(one for one in filesystems if one.name == "pycachefs")
    commands = {"native": ["unshare", "-Urm", "true"],
                ours.name: [ours.program, "run", "--", "true"]}
    results = {name: {"seconds": []} for name in commands}
    for number in range(rounds + 1):
        tell(f"run -- true: round {number} of {rounds}")
        taken = {name: [] for name in commands}
        for name in [*commands] * RUNS:
            if name in commands:
                try:
                    taken[name].append(command_seconds(commands[name], ours.lower))
                except Unavailable as error:
                    results[name] = {"reason": str(error)}
                    del commands[name]
        for name in commands if number > 0 else ():
            results[name]["seconds"].append(statistics.median(taken[name]))
    return results


def command_seconds(command, directory):
    """Raises Unavailable when it fails."""
    begin = time.perf_counter()
    try:
        subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise Unavailable(f"{os.path.basename(command[0])}: {said[-1]}") from error
    return time.perf_counter() - begin


def memory(figure, filesystems, lower, tell):
    """What a daemon holds after a walk over so many files in the tree `lower`."""
    results = {}
    walk = Row(figure.name, figure.label, "walk")
    for one in filesystems:
        tell(f"{figure.label}: {one.name}")
        if not one.kind.daemon:
            results[one.name] = {"reason": "no daemon"}
            continue
        one.wipe()
        own, one.lower = one.lower, lower
        worker = Worker(walk)
        try:
            one.mount()
            worker.ask(one, fresh=True)
            results[one.name] = one.figures()
        except (Unavailable, OSError) as error:
            results[one.name] = {"reason": str(error)}
        finally:
            worker.close()
            one.close()
            one.lower = own
    return results


# --- what becomes of the seconds ---

def summary(values):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") \
        if len(values) > 1 else values * 3
    return {"median": middle, "quartiles": [low, high]}


def add_ratios(results, native="native"):
    """Adds the median of the seconds and that of the ratios to native, with quartiles."""
    base = results.get(native, {}).get("seconds")
    for result in results.values():
        if not result.get("seconds"):
            continue
        result["time"] = summary(result["seconds"])
        if base:
            result["ratios"] = [own / other for own, other in zip(result["seconds"], base)]
            result["ratio"] = summary(result["ratios"])

