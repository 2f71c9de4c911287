"""Small manifests that tests start from."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def pod(name: str = "web", **spec: Any) -> Document:
    containers = [{"name": "main", "image": "web:1"}]
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": containers, **spec}}


def service(name: str = "web", **spec: Any) -> Document:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"app": name}, **spec}}


def deployment(name: str = "web", **spec: Any) -> Document:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


def policy(name: str = "web", **spec: Any) -> Document:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, **spec},
    }


def config_map(name: str = "settings", **data: str) -> Document:
    return {"metadata": {"name": name}, "data": data}
