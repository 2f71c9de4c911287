"""A stock kubectl, told of a lab."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.terminal import Terminal

from lateral.providers.lab import Lab, started

SECONDS = 60.0
_LOST, _TRIES = "Unknown stream id", 5


class Kubectl:
    """The machine's kubectl, told of the lab."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self.env = {"KUBECONFIG": str(folder / "kubeconfig"), "KUBECACHEDIR": str(folder / "cache")}

    def run(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end; again where kubectl before 1.34 loses output that comes before it has made its streams for it
        (kubernetes/kubernetes#131189), which it says."""
        for _ in range(_TRIES):
            ran = self._run(*words, typed=typed)
            if _LOST not in ran.stderr:
                break
        return ran

    def _run(self, *words: str, typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *words],
            env={**os.environ, **self.env},
            input=typed,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def says(self, *words: str, typed: str = "") -> str:
        """What it prints when it succeeds, without a word of complaint."""
        ran = self.run(*words, typed=typed)
        assert (ran.returncode, ran.stderr) == (0, ""), f"{' '.join(words)}: {ran.returncode}: {ran.stderr}"
        return ran.stdout

    def table(self, *words: str) -> list[list[str]]:
        """The rows of a table without its heading, a cell a word."""
        return [line.split() for line in self.says(*words).splitlines()[1:]]

    @contextmanager
    def terminal(self, *words: str) -> Iterator[Terminal]:
        opened = Terminal([self._program, *words], self.env)
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def forward(self, *words: str, port: int) -> Iterator[str]:
        """The address of a port-forward: kubectl's, in the background, to a free port of this machine."""
        with socket.create_server(("127.0.0.1", 0)) as chosen:
            local = chosen.getsockname()[1]
        command = [self._program, "port-forward", *words, f"{local}:{port}"]
        with subprocess.Popen(
            command, env={**os.environ, **self.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running:
            assert running.stdout
            try:
                line = running.stdout.readline()
                assert line.startswith(f"Forwarding from 127.0.0.1:{local} -> "), line
                yield f"http://localhost:{local}"
            finally:
                running.terminate()


@contextmanager
def kubectl_and_lab(folder: Path) -> Iterator[tuple[Kubectl, Lab]]:
    """The machine's kubectl with a lab of its own; what they share is kept in `folder`. Skips where there is none."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not on PATH: these tests drive a real one (1.31 or newer)")
    with started() as lab:
        # kubectl reads JSON as YAML.
        (folder / "kubeconfig").write_text(json.dumps(lab.kubeconfig))
        (folder / "kubeconfig").chmod(0o600)
        yield Kubectl(program, folder), lab
