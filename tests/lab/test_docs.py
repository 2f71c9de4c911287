"""The pages' commands do what the pages show: each block that is marked as runnable is run, in the page's order.

Numbers, ages and pods' hashes may differ, and `[...]` stands for any lines. Every other line has to be printed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lateral.cli.kubeconfig import written
from lateral.providers.lab import started

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
BLOCK = re.compile(r"^<!-- runnable(?P<fails>, fails)? -->\n```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = "[...]"


@dataclass(frozen=True)
class Step:
    """A command, what the page shows of its output, and whether it is to fail."""

    command: str
    shown: tuple[str, ...]
    fails: bool


def steps(page: str) -> list[Step]:
    found = []
    for block in BLOCK.finditer((ROOT / "docs" / page).read_text()):
        for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            command, shown = _split(part.splitlines())
            found.append(Step(command, shown, block["fails"] is not None))
    return found


def _split(lines: list[str]) -> tuple[str, tuple[str, ...]]:
    """The command with its here-document, and its output."""
    end = lines.index("EOF") + 1 if lines[0].endswith("<< EOF") else 1
    return "\n".join(lines[:end]), tuple(line for line in lines[end:] if line != ANY)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    if shutil.which("kubectl") is None:
        pytest.skip("this page's commands need kubectl, which is not installed")
    with started() as lab, written(lab.kubeconfig, tmp_path / "config") as file:
        yield file


def test_the_tutorial_goes_as_its_page_shows(kubeconfig: Path) -> None:
    found = steps("tutorial.md")
    assert len(found) > 10
    for step in found:
        _run(step, {"KUBECONFIG": str(kubeconfig)})


def test_the_labs_size_is_as_its_page_shows() -> None:
    (step,) = steps("lab.md")
    _run(step, {})
    printed = {part: int(lines) for lines, part in map(str.split, _output(step, {})[1].splitlines())}
    for line in step.shown:
        lines, part = line.split()
        assert abs(printed[part] - int(lines)) < 0.25 * printed[part], (
            f"docs/lab.md is out of date: {part} has {printed[part]}"
        )


def _run(step: Step, env: Mapping[str, str]) -> None:
    status, printed = _output(step, env)
    assert (status != 0) == step.fails, f"$ {step.command}\n{printed}"
    there = {_plain(line) for line in printed.splitlines()}
    missing = [line for line in step.shown if _plain(line) not in there]
    assert not missing, f"$ {step.command}\n{printed}\nhas no line like\n" + "\n".join(missing)


def _output(step: Step, env: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", step.command],  # noqa: S607 - the bash that a reader has
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def _plain(line: str) -> str:
    """Without what differs from run to run; documents are compared to the letter."""
    if line.startswith("{"):
        return line
    unhashed = re.sub(r"-[a-z0-9]{8,10}-[a-z0-9]{5}\b", "-HASH", line)
    return " ".join(re.sub(r"\d+", "N", re.sub(r"\b\d+m\d+s\b", "0s", unhashed)).split())
