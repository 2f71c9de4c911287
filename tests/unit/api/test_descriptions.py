"""What the server says of itself: versions, resources, fields, and what it hasn't."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from lateral.lab.kinds import KINDS

if TYPE_CHECKING:
    from .served import Served


def test_every_field_of_every_kind_is_described(served: Served) -> None:
    """And every type that is named is there."""
    groups = served.ask("GET", "/openapi/v3").json["paths"]
    described = set()
    for group in groups.values():
        document = served.ask("GET", group["serverRelativeURL"]).json
        schemas = document["components"]["schemas"]
        named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
        assert named <= set(schemas)
        described |= {
            stated["kind"]
            for schema in schemas.values()
            for stated in schema.get("x-kubernetes-group-version-kind", [])
        }
    assert described == {kind.name for kind in KINDS}


def test_fields_have_types_and_say_whether_they_are_required(served: Served) -> None:
    schemas = served.ask("GET", "/openapi/v3/apis/networking.k8s.io/v1").json["components"]["schemas"]
    rule = schemas["NetworkPolicyIngressRule"]["properties"]
    assert rule["from"] == {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/NetworkPolicyPeer"}]}}
    assert schemas["IPBlock"]["required"] == ["cidr"]
    assert schemas["LabelSelector"]["properties"]["matchLabels"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }
    assert schemas["IntOrString"]["format"] == "int-or-string"


def test_what_the_lab_has_not_is_named(served: Served) -> None:
    for path, named in (
        ("/apis/batch/v1/namespaces/shop/jobs", "jobs.batch"),
        ("/api/v1/namespaces/shop/endpoints", "endpoints"),
        ("/api/v1/namespaces/shop/pods/web/ephemeralcontainers", "ephemeralcontainers of pods"),
    ):
        answer = served.ask("GET", path)
        assert answer.code == 404
        assert answer.message.startswith("the server could not find the requested resource: the lab has no " + named)


def test_a_review_that_states_its_answer_is_answered_all_the_same(served: Served) -> None:
    """As kubectl sends it: with an empty status."""
    spec = {"resourceAttributes": {"verb": "create", "resource": "pods"}}
    body = {"spec": spec, "status": {"denied": True}}
    made = served.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert (made.code, made.json["status"]["allowed"]) == (201, True)
