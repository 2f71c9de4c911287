"""Run the suite once and print, as JSON, what it took: seconds by stage, and the memory of all processes together.

Seconds are read off the run's own progress lines; memory is the proportional set size (PSS) of the whole process tree,
sampled twice a second, in MB. Arguments go to pytest: `python tests/bench/run.py --lateral-policies tutorial`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
INTERVAL = 0.5
STAGES = {
    "lab_ready_s": re.compile(r"lab up in ([\d.]+) s"),
    "shop_ready_s": re.compile(r" ready (?P<n>\d+)/(?P=n) in (?P<s>[\d.]+) s"),
    "baseline_sweep_s": re.compile(r"baseline sweep.* in ([\d.]+) s"),
    "enforced_sweep_s": re.compile(r"enforced sweep.* in ([\d.]+) s"),
    "restored_sweep_s": re.compile(r"restored sweep.* in ([\d.]+) s"),
    "policies_in_force_s": re.compile(r"policies in force after ([\d.]+) s"),
}


def main(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as reports:
        command = [sys.executable, "-m", "pytest", "-m", "lateral", f"--lateral-reports={reports}", *arguments]
        began = time.monotonic()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            memory = Memory(process.pid)
            assert process.stdout is not None
            printed = list(process.stdout)
        total = time.monotonic() - began
        memory.stop()
    found: dict[str, object] = {
        name: next((float(match[match.lastindex or 1]) for line in printed if (match := pattern.search(line))), None)
        for name, pattern in STAGES.items()
    }
    found |= {"total_s": round(total, 1), "peak_pss_mb": memory.peak, "peak_processes": memory.processes}
    found |= {"exit_status": process.returncode, "last_line": printed[-1].strip("= \n") if printed else ""}
    json.dump(found, sys.stdout, indent=2)
    print()  # noqa: T201  # the benchmark's output
    return 0 if process.returncode in (0, 1, 10) else process.returncode


class Memory:
    """Samples the PSS of a process and all its descendants until stopped."""

    def __init__(self, root: int) -> None:
        self.peak = 0
        self.processes = 0
        self._root = root
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(INTERVAL):
            tree = descendants(self._root)
            self.processes = max(self.processes, len(tree))
            self.peak = max(self.peak, sum(map(pss, tree)) // 1024)


def descendants(root: int) -> set[int]:
    """A process and all below it, as far as they still live."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def pss(pid: int) -> int:
    """Proportional set size in kB; a process that has ended has none."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
