"""Measure again and again in labs that fail at random, kill runs at random moments, and count what is wrong or left.

Prints progress to standard error and the counts, as JSON, to standard output; the exit status is 1 when anything is
wrong or left over. Run it alone: whatever else starts processes in namespaces of their own meanwhile is counted too.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SETTLE = 8.0
LONGEST = 14.0
"""Seconds into a run, at most, at which it is killed: about as long as it takes."""
GONE = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="measurements under random faults (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="runs that are killed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=3, help="how many at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the random choices")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311 - nothing secret is chosen
    before = Machine.now()
    began = time.monotonic()
    counts = measured(arguments.runs, arguments.jobs, chance)
    counts |= killed(arguments.kills, arguments.jobs, chance)
    left = before.left_over()
    found = {"seed": arguments.seed, "seconds": round(time.monotonic() - began), **counts, "left_over": left}
    json.dump(found, sys.stdout, indent=2)
    print()  # noqa: T201 - the script's output
    return 1 if counts["wrong_verdicts"] or counts["failed_runs"] or any(left.values()) else 0


def measured(runs: int, jobs: int, chance: random.Random) -> dict[str, object]:
    """Measure under random faults; what each run concludes is held against what is true of it."""
    from tests.faulty import NAMES

    wrong: list[str] = []
    verdicts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    undecided, failed = 0, []
    with ProcessPoolExecutor(jobs) as pool:
        pending = {pool.submit(one, name): name for name in (chance.choice(NAMES) for _ in range(runs))}
        for done in progress(as_completed(pending), runs, "measured"):
            name = pending[done]
            faults[name] += 1
            try:
                found, counted, open_questions = done.result()
            except Exception as error:  # whatever broke a run is a result too
                failed.append(f"{name}: {type(error).__name__}: {error}")
                continue
            wrong += [f"{name}: {one}" for one in found]
            verdicts += counted
            undecided += open_questions
    return {
        "runs": runs,
        "faults": dict(faults.most_common()),
        "verdicts": dict(verdicts.most_common()),
        "wrong_verdicts": len(wrong),
        "wrong": wrong[:50],
        "undecided_verdicts": undecided,
        "failed_runs": len(failed),
        "failures": failed[:50],
    }


def one(name: str) -> tuple[list[str], Counter[str], int]:
    """One measurement: its wrong verdicts, all verdicts counted, and how many are undecided without need."""
    from tests.faulty import TRUTHS, measure

    with tempfile.TemporaryDirectory() as folder:
        seen = measure(Path(folder), name, SETTLE)
    counted = Counter(str(finding.verdict) for finding in seen.findings.values())
    return TRUTHS[name].wrong(seen), counted, len(TRUTHS[name].undecided(seen))


def killed(kills: int, jobs: int, chance: random.Random) -> dict[str, object]:
    """Kill whole runs of the suite, each at a random moment, and see how soon their labs are gone."""
    moments = [chance.uniform(0.2, LONGEST) for _ in range(kills)]
    with ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(kill, moment) for moment in moments]
        took = [done.result() for done in progress(as_completed(pending), kills, "killed")]
    return {"kills": kills, "slowest_end_s": round(max(took, default=0.0), 2)}


def kill(moment: float) -> float:
    """Start the suite, kill it after so many seconds, and return how long its lab outlived it (at most GONE)."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "lateral", "-p", "no:cacheprovider"]
    with tempfile.TemporaryDirectory() as reports:
        process = subprocess.Popen(
            [*command, f"--lateral-reports={reports}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    ended = time.monotonic()
    while time.monotonic() - ended < GONE and lab_of(process.pid):
        threading.Event().wait(0.02)
    return time.monotonic() - ended


def lab_of(runner: int) -> list[int]:
    """The processes of a runner's lab that still carry its command line."""
    mark = f"--starter\0{runner}\0".encode()
    return [pid for pid in processes() if mark in _read(Path(f"/proc/{pid}/cmdline"))]


class Machine:
    """What there was on the machine before: processes in other namespaces, and mounts."""

    def __init__(self, foreign: set[tuple[int, str]], mounts: set[str]) -> None:
        self._foreign = foreign
        self._mounts = mounts

    @classmethod
    def now(cls) -> Machine:
        return cls(_foreign(), _mounts())

    def left_over(self) -> dict[str, int]:
        """What is there beyond that, once it has had time to go."""
        deadline = time.monotonic() + GONE
        while (more := _foreign() - self._foreign) and time.monotonic() < deadline:
            threading.Event().wait(0.1)
        namespaces = {namespace for _, namespace in more}
        return {"processes": len(more), "namespaces": len(namespaces), "mounts": len(_mounts() - self._mounts)}


def _foreign() -> set[tuple[int, str]]:
    """Processes outside this one's network namespace, each with that namespace."""
    own = str(Path("/proc/self/ns/net").readlink())
    found = set()
    for pid in processes():
        try:
            namespace = str(Path(f"/proc/{pid}/ns/net").readlink())
        except OSError:
            continue
        if namespace != own:
            found.add((pid, namespace))
    return found


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def progress(done: Iterable[T], total: int, word: str) -> Iterator[T]:
    """Tell of every tenth."""
    for number, one in enumerate(done, 1):
        yield one
        if number % 10 == 0 or number == total:
            print(f"{word} {number}/{total}", file=sys.stderr, flush=True)  # noqa: T201 - for who waits


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
