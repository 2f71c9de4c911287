"""Policies are checked by name, field and place before anything is deployed."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest
import yaml

from lateral import policy
from lateral import topology as topologies
from lateral.errors import ConfigurationError
from lateral.policy import load_policies, stored
from lateral.resources import RUN_LABEL, Run

from .simulated import simulated

if TYPE_CHECKING:
    from lateral.topology import Topology

GOOD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: user-db
  namespace: sock-shop
spec:
  podSelector: {matchLabels: {name: user-db}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {matchLabels: {name: user}}
        - namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}
        - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
      ports:
        - {port: 27017, protocol: TCP}
        - {port: 27018, endPort: 27020}
"""


@pytest.fixture(scope="module")
def topology() -> Topology:
    return topologies.load("sock-shop")


def complaint(text: str, tmp_path: Path, topology: Topology) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_policies(str(file), topology)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(file), "FILE")


@pytest.mark.parametrize("name", ["kubernetes", "tutorial"])
def test_the_packaged_sets_are_valid(name: str, topology: Topology) -> None:
    policies = load_policies(name, topology)
    assert policies.name == name
    assert {document["kind"] for document in policies.documents} == {"NetworkPolicy"}


def test_none_holds_no_policy(topology: Topology) -> None:
    assert load_policies("none", topology).documents == ()


def test_a_folder_is_read_in_the_order_of_names_with_every_documents_line(tmp_path: Path, topology: Topology) -> None:
    (tmp_path / "b.yml").write_text(GOOD.replace("user-db\n", "second\n") + "---\n# nothing here\n")
    (tmp_path / "a.yaml").write_text(f"# a comment\n---\n{GOOD}---\n{GOOD.replace('name: user-db', 'name: other')}")
    (tmp_path / "notes.txt").write_text("not a policy")
    policies = load_policies(str(tmp_path), topology)
    assert [document["metadata"]["name"] for document in policies.documents] == ["user-db", "other", "second"]
    assert policies.origins == (f"{tmp_path}/a.yaml:3", f"{tmp_path}/a.yaml:20", f"{tmp_path}/b.yml:1")


def test_what_does_not_exist_is_told(tmp_path: Path, topology: Topology) -> None:
    with pytest.raises(ConfigurationError, match=r"policy file .*/missing\.yaml does not exist"):
        load_policies(str(tmp_path / "missing.yaml"), topology)
    with pytest.raises(
        ConfigurationError, match=r"'strict' is neither a known policy set \(kubernetes, tutorial, none\)"
    ):
        load_policies("strict", topology)
    with pytest.raises(ConfigurationError, match="holds no file that ends in"):
        load_policies(str(tmp_path), topology)


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        (
            "podSelector: {matchLabels: {name: user-db}}",
            "PodSelector: {}",
            "spec.PodSelector is unknown (did you mean podSelector?)",
        ),
        (
            "- podSelector",
            "- PodSelector",
            "spec.ingress[0].from[0].PodSelector is unknown (did you mean podSelector?)",
        ),
        ("policyTypes", "policytypes", "spec.policytypes is unknown (did you mean policyTypes?)"),
        ("port: 27017", "prot: 27017", "spec.ingress[0].ports[0].prot is unknown"),
        (
            "matchLabels: {name: user}",
            "matchLables: {name: user}",
            "spec.ingress[0].from[0].podSelector.matchLables is unknown (did you mean matchLabels?)",
        ),
        ("spec:", "speck:", "speck is unknown (did you mean spec?)"),
        ("policyTypes: [Ingress]", "policyTypes: Ingress", "spec.policyTypes must be a list"),
        ("{name: user-db}}", "[name]}", "spec.podSelector.matchLabels must be a mapping"),
        ("{name: user}}", "{name: 1}}", "spec.ingress[0].from[0].podSelector.matchLabels.name must be text, not 1"),
        ("endPort: 27020", "endPort: many", "spec.ingress[0].ports[1].endPort must be a whole number, not 'many'"),
        (
            "- podSelector: {matchLabels: {name: user}}",
            "- {}",
            "spec.ingress[0].from[0] is empty: a peer must be specified",
        ),
        ("  name: user-db\n", "", "metadata.name is missing"),
        ("  namespace: sock-shop\n", "", "metadata.namespace is missing"),
        ("namespace: sock-shop", "namespace: sock-shp", "namespace 'sock-shp' isn't sock-shop's: expected sock-shop"),
        ("networking.k8s.io/v1", "extensions/v1beta1", "apiVersion 'extensions/v1beta1' is unknown"),
        ("kind: NetworkPolicy", "kind: Deployment", "kind 'Deployment' is no policy: expected NetworkPolicy"),
        (
            "kind: NetworkPolicy",
            "kind: CiliumNetworkPolicy",
            "CiliumNetworkPolicy is Cilium's own kind, which this version doesn't apply",
        ),
        ("kind: NetworkPolicy", "kind: AdminNetworkPolicy", "AdminNetworkPolicy is the network-policy-api's kind"),
        ("kind: NetworkPolicy", "kind: CiliumClusterwideNetworkPolicy", "is Cilium's own kind, which this version"),
        ("networking.k8s.io/v1", "crd.projectcalico.org/v1", "NetworkPolicy is Calico's own kind, which this version"),
        ("networking.k8s.io/v1", "crd.antrea.io/v1beta1", "NetworkPolicy is Antrea's own kind, which this version"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    wrong: str, right: str, expected: str, tmp_path: Path, topology: Topology
) -> None:
    assert wrong in GOOD
    message = complaint(GOOD.replace(wrong, right, 1), tmp_path, topology)
    assert message.startswith("FILE:1: ")
    assert expected in message


def test_yaml_that_is_none_is_told_with_its_line(tmp_path: Path, topology: Topology) -> None:
    assert complaint("a: b\nc: [\n", tmp_path, topology).startswith("FILE:3: not valid YAML: ")
    assert complaint("spec: {}\nspec: {}\n", tmp_path, topology) == "FILE:2: not valid YAML: 'spec' stands twice"
    assert complaint("a: !!python/object:os.system {}\n", tmp_path, topology).startswith("FILE:1: not valid YAML: ")
    assert complaint("\x00", tmp_path, topology).startswith("FILE: not valid YAML: ")


def test_a_document_that_is_no_object_is_told(tmp_path: Path, topology: Topology) -> None:
    assert complaint("- 1\n", tmp_path, topology) == "FILE:1: not a Kubernetes object"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("? [a]\n: b\n", "FILE:1: not valid YAML: a key must be text"),
        ("a: !!int x\n", "FILE: not valid YAML: invalid literal"),
        ("[\n" * 100_000, "FILE: not valid YAML: nested too deeply at line 65"),
        ("&a [*a]\n", "FILE:1: too large"),
        (f"{GOOD}  egress: &rules\n    - to: *rules\n", "FILE:1: too large"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]\n" for last, name in ("ab", "bc", "cd", "de", "ef")
        ), "FILE:1: too large"),
        ("#" * 2_000_000, "FILE can't be read: it is larger than"),
    ],
    ids=["key", "value", "depth", "recursion", "recursive field", "aliases", "size"],
)  # fmt: skip
def test_yaml_out_of_all_proportion_is_refused_at_once(
    text: str, expected: str, tmp_path: Path, topology: Topology
) -> None:
    assert complaint(text, tmp_path, topology).startswith(expected)


def test_depth_on_one_line_is_refused_at_once(tmp_path: Path, topology: Topology) -> None:
    """Newer YAML libraries refuse it by themselves, in words of their own."""
    assert re.match(r"FILE(:1)?: not valid YAML: .*(too deeply|nesting)", complaint("[" * 100_000, tmp_path, topology))


def test_dates_are_text_as_they_are_for_kubernetes(tmp_path: Path, topology: Topology) -> None:
    (tmp_path / "policy.yaml").write_text(GOOD.replace("name: user-db\n", "name: 2026-01-01\n"))
    [document] = load_policies(str(tmp_path), topology).documents
    assert document["metadata"]["name"] == "2026-01-01"


@pytest.mark.parametrize(("written", "read"), [("0o17", 15), ("017", 15), ("0x1F", 31), ("1:30", "1:30"), ("80", 80)])
def test_numbers_are_those_that_kubernetes_reads(
    written: str, read: int | str, tmp_path: Path, topology: Topology
) -> None:
    (tmp_path / "policy.yaml").write_text(GOOD.replace("port: 27017", f"port: {written}"))
    [document] = load_policies(str(tmp_path), topology).documents
    assert document["spec"]["ingress"][0]["ports"][0]["port"] == read


def test_what_is_no_file_is_never_waited_for(tmp_path: Path, topology: Topology) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "loop.yaml"):
        with pytest.raises(ConfigurationError, match=rf"/{name} can't be read: it is no regular file"):
            load_policies(str(tmp_path / name), topology)
    with pytest.raises(ConfigurationError, match=r"/folder\.yaml can't be read: it is no regular file"):
        load_policies(str(tmp_path), topology)


def test_a_path_that_no_system_takes_is_told(topology: Topology) -> None:
    with pytest.raises(ConfigurationError, match=r"can't be read from 'xxx.*File name too long"):
        load_policies("x" * 5000, topology)
    with pytest.raises(ConfigurationError, match="embedded null"):
        load_policies("a\0b", topology)
    with pytest.raises(ConfigurationError, match="'' is neither a known policy set"):
        load_policies("", topology)


@pytest.mark.parametrize("refusing", ["file", "folder"])
def test_what_may_not_be_read_is_told(
    refusing: str, tmp_path: Path, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system says it to others than root."""
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "open" if refusing == "file" else "iterdir", refuse)
    with pytest.raises(ConfigurationError, match="can't be read: Permission denied"):
        load_policies(str(file if refusing == "file" else tmp_path), topology)


def test_an_empty_file_is_told(tmp_path: Path, topology: Topology) -> None:
    assert "holds no policy" in complaint("# nothing\n", tmp_path, topology)


def test_two_policies_of_one_name_are_told(tmp_path: Path, topology: Topology) -> None:
    message = complaint(f"{GOOD}---\n{GOOD}", tmp_path, topology)
    assert message == "FILE:18: NetworkPolicy user-db is already defined at FILE:1: one would replace the other"


def test_a_list_of_policies_is_read_as_its_items(tmp_path: Path, topology: Topology) -> None:
    file = tmp_path / "list.yaml"
    item = indent(GOOD, "    ").replace("    apiVersion", "  - apiVersion", 1)
    file.write_text(dedent("apiVersion: v1\nkind: List\nitems:\n") + item)
    policies = load_policies(str(file), topology)
    assert [document["metadata"]["name"] for document in policies.documents] == ["user-db"]
    assert policies.origins == (f"{file}:4",)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
        ({"egress": [{}]}, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]}),
        ({"ingress": [], "egress": None, "policyTypes": []}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
        ({"podSelector": {"matchLabels": {}}}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
        (
            {"ingress": [{"from": [], "ports": [{"port": 80}]}]},
            {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]},
        ),
    ],
)
def test_a_spec_is_compared_as_the_api_keeps_it(sent: dict[str, object], kept: dict[str, object]) -> None:
    assert stored(sent) == stored(kept)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"policyTypes": ["Ingress"]}, {"policyTypes": ["Ingress", "Egress"]}),
        ({"ingress": [{}]}, {"ingress": []}),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, {"ingress": [{"from": [{"namespaceSelector": {}}]}]}),
        ({"podSelector": {"matchLabels": {"name": "a"}}}, {"podSelector": {}}),
        ({"egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]}, {"egress": [{"ports": [{"port": 53}]}]}),
    ],
)
def test_specs_that_mean_different_things_differ(one: dict[str, object], other: dict[str, object]) -> None:
    assert stored(one) != stored(other)


def test_labels_that_stand_empty_are_none(tmp_path: Path, topology: Topology) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD.replace("  name: user-db\n", "  name: user-db\n  labels:\n", 1))
    [document] = load_policies(str(file), topology).documents
    assert Run("4f1c2a").stamp(document)["metadata"]["labels"] == {RUN_LABEL: "4f1c2a"}


TWO = """\
application: shop
namespace: shop
workloads:
  - {name: web, labels: {app: web}, ports: [{port: 80, speaks: http}]}
  - {name: db, namespace: stores, labels: {app: db}, ports: [{port: 80, speaks: http}]}
"""


@pytest.fixture
def two(tmp_path: Path) -> Topology:
    """An application in two namespaces."""
    (tmp_path / "shop.yaml").write_text(TWO)
    return topologies.load(tmp_path / "shop.yaml")


def test_policies_may_be_of_each_of_the_applications_namespaces(two: Topology, tmp_path: Path) -> None:
    text = "---\n".join(GOOD.replace("sock-shop", name) for name in ("shop", "stores"))
    (tmp_path / "policy.yaml").write_text(text)
    assert len(load_policies(str(tmp_path / "policy.yaml"), two).documents) == 2
    said = complaint(GOOD, tmp_path, two)
    assert "namespace 'sock-shop' isn't shop's: expected shop or stores" in said


def test_the_packaged_sets_are_the_packaged_applications(two: Topology) -> None:
    with pytest.raises(ConfigurationError, match="the policies tutorial are sock-shop's"):
        load_policies("tutorial", two)


def test_only_what_was_applied_is_removed(two: Topology, tmp_path: Path) -> None:
    cluster, _ = simulated()
    run, text = Run("1f2e3d4c"), "---\n".join(GOOD.replace("sock-shop", name) for name in ("shop", "stores"))
    (tmp_path / "policy.yaml").write_text(text)
    cluster.apply([run.namespace(name) for name in two.namespaces])
    applied = policy.apply(cluster, load_policies(str(tmp_path / "policy.yaml"), two), run)
    other = yaml.safe_load(GOOD.replace("sock-shop", "stores").replace("name: user-db\n", "name: other\n", 1))
    cluster.apply([other])
    assert policy.remove(cluster, applied, 5) == ""
    left = [one["metadata"]["name"] for one in cluster.list("networking.k8s.io/v1", "NetworkPolicy", "stores")]
    assert left == ["other"]
