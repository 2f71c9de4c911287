"""`lateral discover`: mistakes are one line, and no cluster is read by mistake."""

from __future__ import annotations

import pytest

from lateral import cli


@pytest.mark.parametrize("name", ["", "Shop", "a/../b", "shop "])
def test_a_name_that_no_namespace_has_is_refused(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a variable is empty: all namespaces would be read, and their pods be entered."""
    monkeypatch.setenv("KUBECONFIG", "/absent/config")
    assert cli.main(["discover", "--context", "prod", "--namespace", "shop", "--namespace", name]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"lateral: --namespace: {name!r}: expected a Kubernetes name")
    assert printed.err.count("\n") == 1
