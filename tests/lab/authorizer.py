"""A proxy that authorizes as a cluster with RBAC does, by the rules of manifests: what they don't grant is a 403."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.lab.proxy import Asked, Proxy

Document = dict[str, Any]

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
_REVIEWS = ("authorization.k8s.io", "selfsubjectaccessreviews")
_STREAMS = ("exec", "attach", "portforward")


@dataclass(frozen=True, slots=True)
class Act:
    """A verb on a resource (`pods/exec` is one) somewhere; no namespace is the whole cluster."""

    verb: str
    group: str
    resource: str
    namespace: str = ""

    @property
    def rule(self) -> tuple[str, str, str]:
        """What of it a rule is about."""
        return self.verb, self.group, self.resource


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role's rule allows, in a namespace ("" is everywhere)."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespace: str = ""

    def allows(self, act: Act) -> bool:
        return (
            act.verb in self.verbs
            and act.group in self.groups
            and act.resource in self.resources
            and self.namespace in ("", act.namespace)
        )

    def acts(self) -> set[tuple[str, str, str]]:
        """Everything that it allows, as verb, group and resource."""
        return {(verb, group, one) for verb in self.verbs for group in self.groups for one in self.resources}

    def without(self, rule: tuple[str, str, str]) -> list[Grant]:
        """The same less one verb on one resource."""
        verb, group, resource = rule
        if rule not in self.acts():
            return [self]
        split = [
            replace(self, groups=self.groups - {group}),
            replace(self, groups=frozenset((group,)), resources=self.resources - {resource}),
            Grant(self.verbs - {verb}, frozenset((group,)), frozenset((resource,)), self.namespace),
        ]
        return [one for one in split if one.verbs and one.groups and one.resources]


def grants(documents: Iterable[Document], account: str) -> list[Grant]:
    """What roles and bindings give a service account (`namespace/name`). Whatever isn't understood is an error."""
    by_name: dict[tuple[str, str, str], Document] = {}
    bindings = []
    for document in documents:
        kind, metadata = document["kind"], document["metadata"]
        if kind in ("Role", "ClusterRole"):
            by_name[kind, metadata.get("namespace", ""), metadata["name"]] = document
        elif kind in ("RoleBinding", "ClusterRoleBinding"):
            bindings.append(document)
        else:
            assert kind in ("Namespace", "ServiceAccount"), f"not RBAC's: {kind}"
    found = []
    for binding in bindings:
        subjects = [
            f"{one['namespace']}/{one['name']}" for one in binding["subjects"] if one["kind"] == "ServiceAccount"
        ]
        assert subjects == [account], f"bound to others: {binding['subjects']}"
        namespace = binding["metadata"].get("namespace", "")
        role = binding["roleRef"]
        home = namespace if role["kind"] == "Role" else ""
        found += [_grant(rule, namespace) for rule in by_name[role["kind"], home, role["name"]]["rules"]]
    return found


def _grant(rule: Document, namespace: str) -> Grant:
    assert set(rule) == {"apiGroups", "resources", "verbs"}, f"not understood: {rule}"
    found = Grant(frozenset(rule["verbs"]), frozenset(rule["apiGroups"]), frozenset(rule["resources"]), namespace)
    assert "*" not in found.verbs | found.groups | found.resources, f"grants everything: {rule}"
    return found


class Authorizer(Proxy):
    """Lets through what is granted; `done` is what was let through, `asked` what it was asked about before.

    As servers from 1.35 do, it asks for `create` where a stream begins, and as all do, for `get`. With `forgetful` the
    answer to the first creation of each kind gets lost, so that what is there already is met, too.
    """

    def __init__(self, kubeconfig: Mapping[str, Any], allowed: Iterable[Grant], *, forgetful: bool = False) -> None:
        super().__init__(kubeconfig)
        self.allowed = list(allowed)
        self.done: set[Act] = set()
        self.asked: set[Act] = set()
        self.refused: set[str] = set()
        self._forgetful = forgetful
        self._lost: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    async def answer(self, asked: Asked) -> None:
        act = _act(asked)
        if act is None:
            await self.forward(asked)
            return
        if (act.group, act.resource) == _REVIEWS and act.verb == "create":
            await asked.say(response(201, self._review(json.loads(asked.body))))
            return
        acts = [act]
        if act.resource.rpartition("/")[2] in _STREAMS and act.verb == "get":
            acts.append(replace(act, verb="create"))
        for one in acts:
            if not self._allows(one):
                self.refused.add(f"{one.verb} {one.resource} {one.namespace}")
                await asked.say(response(403, _forbidden(one)))
                return
        if (refusal := await self.admit(asked, act)) is not None:
            await asked.say(refusal)
            return
        self.done |= set(acts)
        if self._forgetful and act.verb == "create" and "dryRun" not in asked.url and not asked.upgraded:
            kind = act.group, act.resource
            with self._lock:
                first = kind not in self._lost
                self._lost.add(kind)
            if first:
                await self.fetch(asked)
                return
        await self.forward(asked)

    async def admit(self, _asked: Asked, _act: Act) -> bytes | None:
        """An answer in the server's stead, where something other than rights speaks against a request."""
        return None

    @property
    def used(self) -> set[tuple[str, str, str]]:
        """What was let through, by rule."""
        return {one.rule for one in self.done}

    def _allows(self, act: Act) -> bool:
        return any(one.allows(act) for one in self.allowed)

    def _review(self, document: Document) -> Document:
        wanted = document["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (wanted["resource"], wanted.get("subresource", ""))))
        act = Act(wanted["verb"], wanted.get("group", ""), resource, wanted.get("namespace", ""))
        self.asked.add(act)
        return {**document, "status": {"allowed": self._allows(act)}}


def _act(asked: Asked) -> Act | None:
    """What a request is about; None is what everyone may ask: discovery, and what the server says of itself."""
    parts = [part for part in asked.path.split("/") if part]
    match parts:
        case ["api", _, *rest] if rest:
            group = ""
        case ["apis", group, _, *rest] if rest:
            pass
        case _:
            assert asked.method == "GET", f"not understood: {asked.method} {asked.path}"
            return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource, *more = [*rest, "", ""]
    assert not any(more), f"not understood: {asked.path}"
    if subresource:
        resource = f"{resource}/{subresource}"
    verb = _VERBS[asked.method]
    if asked.method == "GET" and not name:
        verb = "watch" if parse_qs(urlsplit(asked.url).query).get("watch") == ["true"] else "list"
    if asked.method == "DELETE" and not name:
        verb = "deletecollection"
    return Act(verb, group, resource, namespace)


def _forbidden(act: Act) -> Document:
    where = f' in the namespace "{act.namespace}"' if act.namespace else " at the cluster scope"
    what = f'User "system:serviceaccount:lateral:lateral" cannot {act.verb} resource "{act.resource}"'
    resource = f"{act.resource}.{act.group}" if act.group else act.resource
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'{resource} is forbidden: {what} in API group "{act.group}"{where}',
        "reason": "Forbidden",
        "code": 403,
    }


def response(status: int, document: Document) -> bytes:
    """A whole answer."""
    body = json.dumps(document).encode()
    reason = {201: "Created", 403: "Forbidden", 422: "Unprocessable Entity"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
