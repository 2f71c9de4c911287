"""Derive the lab's field types from the official client's models.

`python tests/unit/api/derivation.py > fixtures/lateral/lab/api/schema.json` writes the file anew. To be run with the
client of the release that the lab reports as its version (kubernetes 32 for v1.32).
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import kubernetes.client.models as models

ROOTS = {
    "Namespace": "V1Namespace",
    "Node": "V1Node",
    "Pod": "V1Pod",
    "Service": "V1Service",
    "ConfigMap": "V1ConfigMap",
    "Secret": "V1Secret",
    "ServiceAccount": "V1ServiceAccount",
    "Event": "CoreV1Event",
    "ReplicaSet": "V1ReplicaSet",
    "Deployment": "V1Deployment",
    "EndpointSlice": "V1EndpointSlice",
    "Lease": "V1Lease",
    "NetworkPolicy": "V1NetworkPolicy",
    "DeleteOptions": "V1DeleteOptions",
    "Scale": "V1Scale",
    "SelfSubjectAccessReview": "V1SelfSubjectAccessReview",
    "SelfSubjectRulesReview": "V1SelfSubjectRulesReview",
}
# The models know these as plain strings; JSON numbers are good for them too.
QUANTITIES = {
    ("V1ResourceRequirements", "limits"),
    ("V1ResourceRequirements", "requests"),
    ("V1VolumeResourceRequirements", "limits"),
    ("V1VolumeResourceRequirements", "requests"),
    ("V1PodSpec", "overhead"),
    ("V1ContainerStatus", "allocatedResources"),
    ("V1NodeStatus", "allocatable"),
    ("V1NodeStatus", "capacity"),
    ("V1EmptyDirVolumeSource", "sizeLimit"),
    ("V1ResourceFieldSelector", "divisor"),
}
FREE_FORM = {("V1ManagedFieldsEntry", "fieldsV1")}
# Required by the models, but not by an API server.
OPTIONAL = {("V1NetworkPolicySpec", "podSelector"), ("V1EndpointSlice", "endpoints"), ("CoreV1Event", "metadata")}


def derive() -> dict[str, dict[str, str]]:
    """Fields by type: `"ports": "[V1ServicePort]"`; `{str}` is a map, a required field's type ends in `!`."""
    types: dict[str, dict[str, str]] = {}
    waiting = [*ROOTS.values()]
    while waiting:
        name = waiting.pop()
        if name in types:
            continue
        model = getattr(models, name)
        required = _required(model)
        types[name] = {}
        for attribute, stated in sorted(model.openapi_types.items()):
            field = model.attribute_map[attribute]
            type_ = _type(name, field, stated)
            mandatory = attribute in required and (name, field) not in OPTIONAL
            types[name][field] = type_ + "!" * mandatory
            waiting += [word for word in re.findall(r"\w+", type_) if hasattr(models, word)]
    return dict(sorted(types.items()))


def _type(model: str, field: str, stated: str) -> str:
    listed = re.fullmatch(r"[Ll]ist\[(.+)\]", stated)
    if listed:
        return f"[{_type(model, field, listed[1])}]"
    mapped = re.fullmatch(r"(?:Dict\[|dict\()str, (.+)[\])]", stated)
    if mapped:
        value = "bytes" if (model, field) in {("V1Secret", "data"), ("V1ConfigMap", "binaryData")} else mapped[1]
        return f"{{{_type(model, field, value)}}}"
    if (model, field) in QUANTITIES:
        return "quantity"
    if stated == "object":
        return "any" if (model, field) in FREE_FORM else "int-or-string"
    return {"datetime": "time", "bytearray": "bytes"}.get(stated, stated)


def _required(model: Any) -> set[str]:
    """Newer clients say which fields are required, older ones refuse to be made without them."""
    if hasattr(model, "model_fields"):
        return {name for name, field in model.model_fields.items() if field.is_required()}
    given: dict[str, str] = {}
    while True:
        try:
            model(**given)
        except ValueError as error:
            named = re.search(r"Invalid value for `(\w+)`", str(error))
            if named is None or named[1] in given:
                raise
            given[named[1]] = "something"
        else:
            return set(given)


def main() -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in derive().items()]
    roots = json.dumps(ROOTS)
    sys.stdout.write('{"roots": ' + roots + ',\n"types": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
