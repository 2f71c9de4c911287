"""Kubeconfig files: merged as kubectl does, named contexts only, and never touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral.errors import ConfigurationError
from lateral.providers.attach import Attachment


def write(path: Path, *contexts: str, **user: Any) -> Path:
    """A file with a cluster, a user and a context of each name."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": one, "cluster": {"server": f"https://{path.stem}.{one}"}} for one in contexts],
        "users": [{"name": one, "user": {"token": path.stem, **user}} for one in contexts],
        "contexts": [{"name": one, "context": {"cluster": one, "user": one}} for one in contexts],
        "current-context": contexts[0] if contexts else "",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return path


def resolved(context: str, kubeconfig: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    config, name = Attachment(context, kubeconfig, environ=environ or {}).resolved()
    assert name == context
    return config


def test_the_current_context_is_never_taken_by_itself(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "prod", "stage")
    with pytest.raises(ConfigurationError, match="never the current one: there are: prod, stage"):
        resolved("", file)


def test_an_unknown_context_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "prod", "stage")
    with pytest.raises(ConfigurationError, match="no context 'pord'; there are: prod, stage"):
        resolved("pord", file)
    with pytest.raises(ConfigurationError, match="no context 'prod'; the kubeconfig has none"):
        resolved("prod", write(tmp_path / "b"))


def test_several_files_are_merged_and_the_first_counts(tmp_path: Path) -> None:
    """One that isn't there is passed over, as kubectl does."""
    files = [write(tmp_path / "a", "prod"), tmp_path / "absent", write(tmp_path / "b", "prod", "stage")]
    config = resolved("stage", None, {"KUBECONFIG": ":".join(map(str, files)), "HOME": "/absent"})
    servers = {one["name"]: one["cluster"]["server"] for one in config["clusters"]}
    assert servers == {"prod": "https://a.prod", "stage": "https://b.stage"}


def test_without_being_told_the_files_are_kubectls(tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", "home")
    assert resolved("home", None, {"HOME": str(tmp_path)})["clusters"][0]["name"] == "home"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"HOME": "/absent"}, r"\(/absent/.kube/config does not exist\): give --lateral-kubeconfig"),
        ({"KUBECONFIG": "/absent/a:/absent/b"}, r"\(KUBECONFIG names none that exists\)"),
    ],
)
def test_no_file_at_all_is_told(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        resolved("prod", None, environ)


def test_files_beside_the_kubeconfig_are_found_from_anywhere(tmp_path: Path) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login"}
    file = write(
        tmp_path / "deep" / "a", "prod", **{"client-key": "keys/key.pem", "tokenFile": "/run/t", "exec": plugin}
    )
    user = resolved("prod", file)["users"][0]["user"]
    folder = tmp_path / "deep"
    assert user["client-key"] == str(folder / "keys/key.pem")
    assert user["tokenFile"] == "/run/t"
    assert Path(user["exec"]["command"]) == folder / "login"


def test_a_command_of_the_path_stays_one(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "prod", exec={"command": "aws"})
    assert resolved("prod", file)["users"][0]["user"]["exec"]["command"] == "aws"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not valid YAML"),
        ("kind: Pod", "is no kubeconfig: expected an object of kind Config"),
        ("- a", "is no kubeconfig"),
        ("kind: Config\ncontexts: [1]", "contexts is no list of named entries"),
        ("", "no context 'prod'; the kubeconfig has none"),
        ("[" * 2000 + "]" * 2000, "is not valid YAML"),
        ("contexts: [{name: {a: b}}]", "contexts is no list of named entries"),
        ("contexts: [{name: prod, context: c}]", "context prod: expected a mapping under context"),
        ("clusters: [{name: c, cluster: https://c}]", "cluster c: expected a mapping under cluster"),
        ("clusters: [{name: c, cluster: {server: 5}}]", "cluster c: server must be text"),
        ("clusters: [{name: c, cluster: {certificate-authority: 5}}]", "certificate-authority must be text"),
        ("users: [{name: u, user: {exec: aws}}]", "user u: exec must be a mapping"),
    ],
)
def test_what_is_no_kubeconfig_is_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        resolved("prod", file)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent can't be read: No such file"):
        resolved("prod", tmp_path / "absent")


@pytest.mark.parametrize("environ", [{"KUBECONFIG": "/{0}/config"}, {"HOME": "/{0}"}])
def test_what_may_not_be_looked_for_is_told(environ: dict[str, str]) -> None:
    """As in the folder of another user, of whom the environment was kept; here a name is too long for any."""
    named = {name: value.format("a" * 300) for name, value in environ.items()}
    with pytest.raises(ConfigurationError, match=r"kubeconfig /a+/\S*config can't be read: File name too long"):
        Attachment("prod", None, environ=named).resolved()


@pytest.mark.parametrize("environ", [{}, {"KUBECONFIG": "~nobody-of-that-name/config"}])
def test_a_home_that_nobody_has_is_told(environ: dict[str, str]) -> None:
    given = None if environ else Path("~nobody-of-that-name/config")
    with pytest.raises(ConfigurationError, match="there is no home folder of the user that kubeconfig ~nobody-of-that"):
        Attachment("prod", given, environ=environ).resolved()


def account(folder: Path) -> Path:
    (folder / "token").write_text("pods-token\n")
    (folder / "ca.crt").write_text("authority")
    return folder


@pytest.mark.parametrize(
    ("host", "server"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pod_speaks_to_its_own_cluster(tmp_path: Path, host: str, server: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    config, context = Attachment(in_cluster=True, environ=environ, account=account(tmp_path)).resolved()
    assert context == "in-cluster"
    assert config["clusters"][0]["cluster"]["server"] == server
    assert config["users"][0]["user"] == {"tokenFile": str(tmp_path / "token")}


def test_outside_of_pods_there_is_no_such_cluster(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="this isn't a pod of a cluster"):
        Attachment(in_cluster=True, environ={}, account=account(tmp_path)).resolved()


def test_a_pod_without_a_token_is_told(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigurationError, match=r"token is missing: the pod needs a service account's token"):
        Attachment(in_cluster=True, environ=environ, account=tmp_path).resolved()


def test_a_cluster_is_named_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs no context and no kubeconfig"):
        Attachment("prod", in_cluster=True, account=tmp_path).resolved()
