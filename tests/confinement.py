"""The admission policy of manifests/rbac/confinement, judged as an API server does: nothing passes but by its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cel

from lateral.resources import load, manifests

Document = dict[str, Any]

ACCOUNT = "system:serviceaccount:lateral:lateral"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants of the API, as admission sees it; whatever isn't sent is None."""

    operation: str
    group: str
    resource: str
    """With its subresource, if any: `pods/exec`."""
    namespace: Document | None = None
    """The namespace that it is in, or that it is about."""
    name: str = ""
    object: Document | None = None
    old: Document | None = None
    dry_run: bool = False
    user: str = ACCOUNT

    def variables(self) -> Document:
        """By the names of admission's expressions; fields that are empty aren't there, as in the server's own."""
        resource, _, subresource = self.resource.partition("/")
        home = self.namespace["metadata"]["name"] if self.namespace else ""
        stated = {
            "operation": self.operation,
            "resource": {"group": self.group, "version": "v1", "resource": resource},
            "subResource": subresource,
            "namespace": home,
            "name": self.name,
            "userInfo": {"username": self.user},
        }
        request = {key: value for key, value in stated.items() if value} | {"dryRun": self.dry_run}
        return {
            "request": request,
            "object": self.object,
            "oldObject": self.old,
            "namespaceObject": None if resource == "namespaces" else self.namespace,
        }


@dataclass(frozen=True, slots=True)
class Confinement:
    """The policy's expressions, compiled."""

    rules: tuple[Mapping[str, Any], ...]
    conditions: tuple[cel.Program, ...]
    variables: tuple[tuple[str, cel.Program], ...]
    validations: tuple[tuple[str, cel.Program], ...] = field(repr=False)

    def refusals(self, request: Request) -> list[str]:
        """The messages of whatever speaks against it; an expression that can't be evaluated does."""
        known = request.variables()
        if not self._concerned(request) or not all(one.execute(known) for one in self.conditions):
            return []
        variables: Document = {}
        for name, program in self.variables:
            # One that fails, fails those that ask for it.
            for value in _value(program, {**known, "variables": variables}):
                variables[name] = value
        found = {**known, "variables": variables}
        return [message for message, program in self.validations if list(_value(program, found)) != [True]]

    def _concerned(self, request: Request) -> bool:
        return any(request.group in one["apiGroups"] and request.resource in one["resources"] for one in self.rules)


def _value(program: cel.Program, known: Document) -> Iterator[Any]:
    """What it comes to, if to anything."""
    try:
        yield program.execute(known)
    except (ValueError, RuntimeError, TypeError, KeyError):
        return


def shipped() -> Confinement:
    """The policy as it is."""
    documents = load(manifests("rbac/confinement"))
    [spec] = [one["spec"] for one in documents if one["kind"] == "ValidatingAdmissionPolicy"]
    assert spec["failurePolicy"] == "Fail"
    return Confinement(
        tuple(spec["matchConstraints"]["resourceRules"]),
        tuple(cel.compile(one["expression"]) for one in spec["matchConditions"]),
        tuple((one["name"], cel.compile(one["expression"])) for one in spec["variables"]),
        tuple((one["message"], cel.compile(one["expression"])) for one in spec["validations"]),
    )
