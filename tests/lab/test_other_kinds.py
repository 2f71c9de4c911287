"""Attached to a cluster that has policies of another engine's kinds, too: a lab behind a proxy that says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests import estate
from tests.lab.proxy import Asked, Proxy, proxied

from lateral.providers.lab import Lab, started

GROUP, KIND = "cilium.io", "CiliumClusterwideNetworkPolicy"
SERVED = {
    "CiliumNetworkPolicy": ("ciliumnetworkpolicies", True),
    KIND: ("ciliumclusterwidenetworkpolicies", False),
}


def policy(name: str, **selector: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "generation": 1}, "spec": {"endpointSelector": selector}}


class Cilium(Proxy):
    """Answers for the kinds of Cilium, which enforces nothing here; `late` comes with the application's policies."""

    standing = (policy("base"), policy("billing", matchLabels={"k8s:io.kubernetes.pod.namespace": "billing"}))
    late: dict[str, Any] | None = None
    _came = False

    async def answer(self, asked: Asked) -> None:
        if asked.method == "POST" and asked.path.endswith(f"/namespaces/{estate.NAME}/networkpolicies"):
            self._came = True
        if asked.path == "/apis":
            listed = json.loads((await self.fetch(asked)).partition(b"\r\n\r\n")[2])
            version = {"groupVersion": f"{GROUP}/v2", "version": "v2"}
            listed["groups"].append({"name": GROUP, "versions": [version], "preferredVersion": version})
            await asked.say(_answer(listed))
        elif asked.path == f"/apis/{GROUP}/v2":
            kinds = [{"kind": kind, "name": name, "namespaced": of_one} for kind, (name, of_one) in SERVED.items()]
            await asked.say(_answer({"resources": kinds}))
        elif asked.path == f"/apis/{GROUP}/v2/{SERVED[KIND][0]}":
            late = [self.late] if self.late and self._came else []
            await asked.say(_answer({"items": [*self.standing, *late]}))
        elif asked.path.startswith(f"/apis/{GROUP}/v2/namespaces/"):
            await asked.say(_answer({"items": []}))
        else:
            await self.forward(asked)


def _answer(found: dict[str, Any]) -> bytes:
    body = json.dumps(found).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with started() as running:
        yield running


def suite(proxy: Proxy, folder: Path) -> tuple[int, list[str], dict[str, str]]:
    """The suite on an estate: its status, what it said, and the report's properties."""
    estate.write(folder)
    with proxied(proxy) as kubeconfig:
        (folder / "config").write_text(json.dumps(kubeconfig))
        context = kubeconfig["contexts"][0]["name"]
        where = ["--lateral-cluster", "attach", "--lateral-kubeconfig", "config", "--lateral-context", context]
        what = ["--lateral-app", "topology.yaml", "--lateral-policies=policies"]
        command = [sys.executable, "-m", "pytest", "--pyargs", "lateral.conformance", "-m", "lateral", *where, *what]
        environ = {**os.environ, "PYTEST_ADDOPTS": ""}
        ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
    report = ElementTree.parse(folder / "reports" / "junit.xml")  # noqa: S314 - our own file
    suites = report.iterfind("testsuite/properties/property")
    return ran.returncode, ran.stdout.splitlines(), {one.get("name", ""): one.get("value", "") for one in suites}


def test_what_was_in_force_is_told_before_and_reported(lab: Lab, tmp_path: Path) -> None:
    """A cluster-wide policy that selects what is measured, the run's own pods too; and none that doesn't."""
    status, said, properties = suite(Cilium(lab.kubeconfig), tmp_path)
    assert status == 0, said[-30:]
    [told] = [line for line in said if line.startswith("  warning: standing policies: ")]
    assert f"{KIND} base selects " in told
    assert f"policies in force that aren't the run's: {KIND} base" in said
    assert properties["lateral.policies.standing"] == f"{KIND} base"


def test_one_that_comes_under_the_sweep_leaves_nothing_proven(lab: Lab, tmp_path: Path) -> None:
    proxy = Cilium(lab.kubeconfig)
    proxy.late = policy("late", matchLabels={"app": "rogue"})
    status, said, _ = suite(proxy, tmp_path)
    assert status == 10, said[-30:]
    why = f"{KIND} late was added while the sweep ran"
    assert f"the policies were not shown to be in force throughout: {why}" in said
    [counts] = [line for line in said if " flows: " in line]
    assert re.search(r" flows: 0 contained, 0 exposed, 0 preserved, 0 disrupted, ", counts)


def test_one_that_concerns_nobody_disturbs_nobody(lab: Lab, tmp_path: Path) -> None:
    """On a cluster that others use such policies come and go."""
    proxy = Cilium(lab.kubeconfig)
    proxy.late = policy("late", matchLabels={"k8s:io.kubernetes.pod.namespace": "billing"})
    status, said, _ = suite(proxy, tmp_path)
    assert status == 0, said[-30:]
