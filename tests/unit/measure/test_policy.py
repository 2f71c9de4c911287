"""Policies are checked by name, field and place before anything is deployed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from lateral import topology as topologies
from lateral.errors import ConfigurationError
from lateral.policy import load_policies

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
        - {port: mongo, endPort: 27018}
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
        ("endPort: 27018", "endPort: many", "spec.ingress[0].ports[1].endPort must be a whole number, not 'many'"),
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
