"""Bodies as kubectl 1.32 sends them: Kubernetes' protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lateral.lab.api.protobuf import MEDIA_TYPE, decode
from lateral.lab.status import StatusError

if TYPE_CHECKING:
    from .served import Served

META = b'\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00'
"""What the sender leaves empty of an object's metadata, after the name."""

# kubectl create namespace lab
NAMESPACE = b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x1b\n\x13\n\x03lab" + META + b'\x12\x00\x1a\x02\n\x00\x1a\x00"\x00'

# kubectl create deployment web --image=redis:7 --replicas=0 --port=6379 -n shop -- sleep 60
DEPLOYMENT = (
    b'k8s\0\n\x15\n\x07apps/v1\x12\nDeployment\x12\xca\x01\n#\n\x03web\x12\x00\x1a\x04shop"\x00*\x002\x008\x00B\x00'
    b"Z\n\n\x03app\x12\x03web\x12\x94\x01\x08\x00\x12\x0c\n\n\n\x03app\x12\x03web\x1az\n\x1c\n\x00"
    + META
    + b"Z\n\n\x03app"
    b'\x12\x03web\x12Z\x12<\n\x05redis\x12\x07redis:7\x1a\x05sleep\x1a\x0260*\x002\x0b\n\x00\x10\x00\x18\xeb1"\x00*\x00B'
    b"\x00j\x00r\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00\x1a\x002\x00B\x00J\x00R\x00X\x00`\x00h\x00\x82\x01\x00\x8a\x01"
    b'\x00\x9a\x01\x00\xc2\x01\x00"\x02\n\x00(\x008\x00\x1a\x0c\x08\x00\x10\x00\x18\x00 \x00(\x008\x00\x1a\x00"\x00'
)

# kubectl create secret generic s --from-literal=a=b
SECRET = (
    b"k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12\x1d\n\x11\n\x01s" + META + b'\x12\x06\n\x01a\x12\x01b\x1a\x00\x1a\x00"\x00'
)

# kubectl create service nodeport web --tcp=80:http --node-port=30001
SERVICE = (
    b"k8s\0\n\r\n\x02v1\x12\x07Service\x12m\n\x1f\n\x03web"
    + META
    + b"Z\n\n\x03app\x12\x03web\x12F\n \n\x0780-http\x12\x03TCP"
    b'\x18P"\n\x08\x01\x10\x00\x1a\x04http(\xb1\xea\x01\x12\n\n\x03app\x12\x03web\x1a\x00"\x08NodePort:\x00B\x00R\x00Z\x00`'
    b'\x00h\x00\x1a\x02\n\x00\x1a\x00"\x00'
)

# kubectl auth can-i create deployments.apps -n shop
REVIEW = (
    b"k8s\0\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12H\n\x10\n\x00"
    + META
    + b"\x12*\n(\n\x04shop"
    b'\x12\x06create\x1a\x00"\x00*\x10deployments.apps2\x00:\x00\x1a\x08\x08\x00\x12\x00\x1a\x00 \x00\x1a\x00"\x00'
)


def test_what_the_sender_left_empty_is_not_there() -> None:
    assert decode(NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "lab"},
        "spec": {},
        "status": {},
    }
    assert decode(SECRET)["data"] == {"a": "Yg=="}


def test_a_deployment_is_read_to_its_containers_and_a_stated_zero_stays() -> None:
    spec = decode(DEPLOYMENT)["spec"]
    assert spec["replicas"] == 0
    assert "minReadySeconds" not in spec
    assert spec["selector"] == {"matchLabels": {"app": "web"}}
    assert spec["template"]["metadata"]["labels"] == {"app": "web"}
    assert spec["template"]["spec"]["containers"] == [
        {
            "name": "redis",
            "image": "redis:7",
            "command": ["sleep", "60"],
            "ports": [{"containerPort": 6379}],
            "resources": {},
        }
    ]


def test_ports_by_name_and_number_are_told_apart() -> None:
    (port,) = decode(SERVICE)["spec"]["ports"]
    assert port == {"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http", "nodePort": 30001}


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/api/v1/namespaces", NAMESPACE, lambda made: made["status"]["phase"] == "Active"),
        ("/apis/apps/v1/namespaces/shop/deployments", DEPLOYMENT, lambda made: made["spec"]["replicas"] == 0),
        ("/api/v1/namespaces/shop/secrets", SECRET, lambda made: made["type"] == "Opaque"),
        ("/api/v1/namespaces/shop/services", SERVICE, lambda made: made["spec"]["ports"][0]["nodePort"] == 30001),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", REVIEW, lambda made: "allowed" in made["status"]),
    ],
    ids=["namespace", "deployment", "secret", "service", "review"],
)
def test_what_kubectls_generators_send_is_created(served: Served, path: str, body: bytes, found: Any) -> None:
    answer = served.ask("POST", f"{path}?fieldValidation=Strict", body, MEDIA_TYPE)
    assert answer.code == 201, answer.text
    assert found(answer.json)


def envelope(kind: str, raw: bytes) -> bytes:
    type_meta = b"\n\x02v1\x12" + bytes([len(kind)]) + kind.encode()
    return b"k8s\0\n" + bytes([len(type_meta)]) + type_meta + b"\x12" + bytes([len(raw)]) + raw


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (envelope("Pod", b""), "Pod of v1"),
        (envelope("Job", b""), "Job of v1"),
        (envelope("Namespace", b"\xfa\x01\x00"), "field 31 of Namespace"),
    ],
)
def test_what_is_not_known_is_refused_and_never_dropped(served: Served, body: bytes, named: str) -> None:
    answer = served.ask("POST", "/api/v1/namespaces", body, MEDIA_TYPE)
    assert answer.code == 415
    assert named in answer.message
    assert "kubectl apply -f" in answer.message


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        NAMESPACE[:-40] + b"\xff",
        envelope("Namespace", b"\n\xff"),
        envelope("Namespace", b"\x08" + b"\xff" * 11),
        envelope("Namespace", b"\x08\x01"),
        envelope("ConfigMap", b"\x12\x02\x08\x01"),
        envelope("Namespace", b"\n\x05\n\x03\xff\xfe\xfd"),
        envelope("Namespace", b"\x0b"),
        envelope("Namespace", b"\n\x0bB\x09\x08" + b"\xff" * 7 + b"\x7f"),
    ],
)
def test_what_is_broken_is_refused(body: bytes, served: Served) -> None:
    answer = served.ask("POST", "/api/v1/namespaces", body, MEDIA_TYPE)
    assert answer.code == 400, answer.text


def test_every_prefix_of_a_body_is_read_or_refused() -> None:
    """Nothing that a client may send makes the decoder fail in another way."""
    codes = set()
    for body in (NAMESPACE, DEPLOYMENT, SERVICE, REVIEW):
        for end in range(len(body)):
            try:
                decode(body[:end])
            except StatusError as error:
                codes.add(error.code)
    assert codes == {400, 415}
