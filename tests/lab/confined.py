"""A proxy that authorizes, and then admits as a cluster does that has the admission policy of manifests/rbac."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.confinement import Request, shipped
from tests.lab.authorizer import Act, Authorizer, Document, Grant, response

if TYPE_CHECKING:
    from tests.lab.proxy import Asked

_OPERATIONS = {"create": "CREATE", "patch": "UPDATE", "update": "UPDATE", "delete": "DELETE"}


class Confined(Authorizer):
    """`kept_out` is what admission refused, in its words."""

    def __init__(self, kubeconfig: Mapping[str, Any], allowed: Iterable[Grant], *, forgetful: bool = False) -> None:
        super().__init__(kubeconfig, allowed, forgetful=forgetful)
        self._policy = shipped()
        self.kept_out: list[str] = []

    async def admit(self, asked: Asked, act: Act) -> bytes | None:
        """An answer in the server's stead where admission refuses."""
        operation = "CONNECT" if "/" in act.resource and asked.upgraded else _OPERATIONS.get(act.verb)
        if operation is None:
            return None
        sent = json.loads(asked.body) if asked.body and operation in ("CREATE", "UPDATE") else None
        old = await self._read(asked, asked.path) if operation in ("UPDATE", "DELETE") else None
        wanted = merged(old, sent) if old is not None and sent is not None else sent
        home = await self._read(asked, f"/api/v1/namespaces/{act.namespace}") if act.namespace else None
        # In this group's paths the name is what follows the resource, wherever that is.
        name = asked.path.split(f"/{act.resource.partition('/')[0]}/")[-1].partition("/")[0]
        request = Request(
            operation, act.group, act.resource, home or wanted or old, name, wanted, old, "dryRun=All" in asked.url
        )
        refusals = self._policy.refusals(request)
        if not refusals:
            return None
        self.kept_out += [f"{act.verb} {act.resource} {name} in {act.namespace or 'no namespace'}: {refusals[0]}"]
        return response(422, _invalid(refusals[0]))

    async def _read(self, asked: Asked, path: str) -> Document | None:
        """An object as the server has it; None where there is none."""
        kept = [line for line in asked.head.split(b"\r\n") if line.lower().startswith((b"host:", b"authorization:"))]
        head = b"\r\n".join([f"GET {path} HTTP/1.1".encode(), *kept, b"", b""])
        answer = await self.fetch(replace(asked, method="GET", url=path, head=head, body=b"", upgraded=False))
        status, _, body = answer.partition(b"\r\n\r\n")
        if b" 404 " in status.split(b"\r\n")[0]:
            return None
        found: Document = json.loads(body)
        return found


def merged(old: Document, change: Document) -> Document:
    """What a JSON merge patch makes of an object."""
    made = dict(old)
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            both = isinstance(value, dict) and isinstance(made.get(key), dict)
            made[key] = merged(made[key], value) if both else value
    return made


def _invalid(message: str) -> Document:
    name = "lateral-confinement"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {message}",
        "reason": "Invalid",
        "code": 422,
    }
