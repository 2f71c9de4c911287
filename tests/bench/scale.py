"""Measure estates of growing size on the lab and print, as JSON lines, what each took: seconds and memory.

`python tests/bench/scale.py 50 100 200` gives the numbers of services that nobody may reach, each dialled by three
rogues and five twins. Memory is in MB: the runner's own peak, and all processes' together (PSS).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZES = (50, 100, 200)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("services", nargs="*", type=int, default=SIZES)
    parser.add_argument("--alone", action="store_true", help="measure the one size in this process")
    arguments = parser.parse_args()
    if arguments.alone:
        json.dump(measure(arguments.services[0]), sys.stdout)
        print(flush=True)  # noqa: T201 - the benchmark's output
        return 0
    # A process of its own for each size: a peak is a process's for good.
    return max(
        subprocess.run([sys.executable, __file__, "--alone", str(services)], check=False).returncode
        for services in arguments.services
    )


def measure(services: int) -> dict[str, object]:
    """One measurement: its stages' seconds, its memory, and its verdicts."""
    from tests import estate
    from tests.bench.run import Memory

    from lateral import run
    from lateral.model import Phase
    from lateral.providers import lab
    from lateral.verdict import judge

    memory = Memory(os.getpid())
    marks: dict[str, float] = {}
    began = time.monotonic()

    def progress(line: str) -> None:
        marks.setdefault(line.split(" sweep")[0].split(":")[0], time.monotonic() - began)

    with tempfile.TemporaryDirectory() as folder:
        found = estate.write(Path(folder), services)
        with lab.lab(progress=progress) as cluster:
            up = time.monotonic() - began
            assessment = run.measure(cluster, found.topology, found.policies, progress=progress)
    total = time.monotonic() - began
    before_judging = time.monotonic()
    verdicts = Counter(str(finding.verdict) for finding in judge(assessment))
    judged = time.monotonic() - before_judging
    memory.stop()
    sweeps = {f"{phase}_sweep_s": round(assessment.sweeps[phase].seconds, 2) for phase in Phase}
    deployed = marks[str(Phase.BASELINE)] - assessment.sweeps[Phase.BASELINE].seconds
    return {
        "services": services,
        "flows": len(assessment.flows),
        "lab_s": round(up, 2),
        "deploy_s": round(deployed - up, 2),
        **sweeps,
        "judging_s": round(judged, 2),
        "total_s": round(total, 1),
        "runner_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "all_pss_mb": memory.peak,
        "verdicts": dict(verdicts),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
