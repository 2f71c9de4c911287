"""Field types, and what is said about fields that aren't known."""

from __future__ import annotations

from typing import Any

import pytest

from lateral.lab.api import schema
from lateral.lab.status import StatusError

from .derivation import derive
from .documents import pod, policy

# Renamed or made stricter in later releases; the lab keeps what its own release says.
CHANGED_LATER = {
    ("V1Deployment", "spec"),
    ("V1DeploymentCondition", "status"),
    ("V1DeploymentCondition", "type"),
    ("V1ReplicaSet", "spec"),
    ("V1ReplicaSetCondition", "status"),
    ("V1ReplicaSetCondition", "type"),
    ("V1ResourceRequirements", "claims"),
}


def refusal(kind: str, group: str, document: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        schema.decode(kind, group, document)
    return caught.value


def test_types_are_those_of_the_official_client() -> None:
    """Every type that the client has too has the same fields, of the same types."""
    derived = derive()
    different = {
        (name, field)
        for name, fields in derived.items()
        for field, type_ in schema.fields(name).items()
        if fields.get(field) != type_
    }
    assert different - CHANGED_LATER == set()
    assert schema.fields("V1NetworkPolicySpec").keys() == derived["V1NetworkPolicySpec"].keys()


def test_unknown_fields_are_refused_by_name() -> None:
    misspelt = policy(PodSelector={}, ingress=[{"from": [{"PodSelector": {}}]}])
    error = refusal("NetworkPolicy", "networking.k8s.io", misspelt)
    assert error.code == 400
    assert error.message == (
        'NetworkPolicy in version "v1" cannot be handled as a NetworkPolicy: strict decoding error: '
        'unknown field "spec.PodSelector", unknown field "spec.ingress[0].from[0].PodSelector"'
    )


def test_unknown_fields_can_be_dropped_with_a_warning() -> None:
    clean, warnings = schema.decode("Pod", "", pod(nodeNmae="a"), schema.WARN)
    assert "nodeNmae" not in clean["spec"]
    assert warnings == ['unknown field "spec.nodeNmae"']
    assert schema.decode("Pod", "", pod(nodeNmae="a"), schema.IGNORE)[1] == []


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"hostNetwork": "yes"}, 'spec.hostNetwork": expected true or false, found string "yes"'),
        ({"terminationGracePeriodSeconds": True}, "expected a whole number, found bool true"),
        ({"terminationGracePeriodSeconds": 1.5}, "expected a whole number, found number 1.5"),
        ({"nodeSelector": {"a": 1}}, 'spec.nodeSelector.a": expected text, found number 1'),
        ({"containers": {}}, 'spec.containers": expected a list, found object'),
        ({"containers": [None]}, 'spec.containers[0]": expected an object, found null'),
    ],
)
def test_wrong_types_are_refused_with_their_place(spec: Any, named: str) -> None:
    error = refusal("Pod", "", pod(**spec))
    assert error.code == 400
    assert named in error.message


def test_missing_fields_are_invalid() -> None:
    error = refusal("Pod", "", {"metadata": {"name": "a"}, "spec": {"containers": [{"image": "b"}]}})
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == 'Pod "a" is invalid: spec.containers[0].name: Required value'


def test_nulls_are_as_good_as_absent() -> None:
    clean, _ = schema.decode("Pod", "", pod(nodeName=None))
    assert "nodeName" not in clean["spec"]


@pytest.mark.parametrize("quantity", ["100m", "64Mi", "0.5", 1, 1.5, "1e3"])
def test_quantities_may_be_numbers(quantity: Any) -> None:
    container = {"name": "main", "image": "web", "resources": {"limits": {"cpu": quantity}}}
    clean, _ = schema.decode("Pod", "", pod(containers=[container]))
    assert clean["spec"]["containers"][0]["resources"]["limits"] == {"cpu": str(quantity)}


def test_a_quantity_that_is_none_is_refused() -> None:
    container = {"name": "main", "image": "web", "resources": {"limits": {"cpu": "a lot"}}}
    assert "expected a quantity" in refusal("Pod", "", pod(containers=[container])).message
