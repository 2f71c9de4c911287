"""NetworkPolicy read plainly, one pair of pods at a time, and clusters and policies by chance to try it on."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]

NAMESPACES: list[Object] = [
    {"metadata": {"name": "shop", "labels": {"team": "a", "env": "prod"}}},
    {"metadata": {"name": "other", "labels": {"team": "b"}}},
    {"metadata": {"name": "bare"}},
]


def pod_object(
    name: str,
    ip: str,
    namespace: str = "shop",
    labels: Mapping[str, str] | None = None,
    ports: Sequence[Object] = (),
    phase: str = "Running",
    host_network: bool = False,
) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {"hostNetwork": host_network, "containers": [{"name": "main", "ports": list(ports)}]},
        "status": {"podIP": ip, "phase": phase},
    }


def policy(spec: Object, namespace: str = "shop") -> Object:
    return {"metadata": {"name": "policy", "namespace": namespace}, "spec": spec}


def plainly_allowed(source: Object, target: Object, protocol: str, port: int, policies: Sequence[Object]) -> bool:
    if source["status"]["podIP"] == target["status"]["podIP"]:
        return True
    out = _one_way("Egress", source, target, target, protocol, port, policies)
    return out and _one_way("Ingress", target, source, target, protocol, port, policies)


def _one_way(
    direction: str, subject: Object, peer: Object, target: Object, protocol: str, port: int, policies: Sequence[Object]
) -> bool:
    isolated = False
    for each in policies:
        spec = each["spec"]
        types = spec.get("policyTypes") or (["Ingress"] + (["Egress"] if spec.get("egress") else []))
        if (
            direction not in types
            or each["metadata"]["namespace"] != subject["metadata"]["namespace"]
            or not _selected(spec["podSelector"], subject["metadata"]["labels"])
        ):
            continue
        isolated = True
        rules, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        for rule in spec.get(rules) or []:
            from_here = not rule.get(peers) or any(_is(entry, peer, each) for entry in rule[peers])
            at_port = not rule.get("ports") or any(_at(entry, target, protocol, port) for entry in rule["ports"])
            if from_here and at_port:
                return True
    return not isolated


def _selected(selector: Object, labels: Object) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions") or []:
        has, value = term["key"] in labels, labels.get(term["key"])
        holds = {
            "In": has and value in term.get("values", []),
            "NotIn": not (has and value in term.get("values", [])),
            "Exists": has,
            "DoesNotExist": not has,
        }
        if not holds[term["operator"]]:
            return False
    return True


def _is(entry: Object, peer: Object, owner: Object) -> bool:
    if "ipBlock" in entry:
        ip = ipaddress.ip_address(peer["status"]["podIP"])
        inside = ip in ipaddress.ip_network(entry["ipBlock"]["cidr"])
        return inside and not any(ip in ipaddress.ip_network(cidr) for cidr in entry["ipBlock"].get("except", []))
    namespace = peer["metadata"]["namespace"]
    if "namespaceSelector" in entry:
        labels = next(
            each["metadata"].get("labels", {}) for each in NAMESPACES if each["metadata"]["name"] == namespace
        )
        if not _selected(entry["namespaceSelector"], labels):
            return False
    elif namespace != owner["metadata"]["namespace"]:
        return False
    return "podSelector" not in entry or _selected(entry["podSelector"], peer["metadata"]["labels"])


def _at(entry: Object, target: Object, protocol: str, port: int) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    wanted: Any = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        named = [each for container in target["spec"]["containers"] for each in container["ports"]]
        return any(
            (each["name"], each["protocol"], each["containerPort"]) == (wanted, protocol, port) for each in named
        )
    return bool(wanted <= port <= entry.get("endPort", wanted))


# Clusters and policies by chance. Few words, so that they often meet.

KEYS, VALUES = st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=2)


def selectors(keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[Object]:
    listed = st.builds(
        lambda key, operator, listed: {"key": key, "operator": operator, "values": listed},
        keys,
        st.sampled_from(["In", "NotIn"]),
        st.lists(values, min_size=1, max_size=2),
    )
    bare = st.builds(
        lambda key, operator: {"key": key, "operator": operator}, keys, st.sampled_from(["Exists", "DoesNotExist"])
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "matchLabels": st.dictionaries(keys, values, max_size=2),
            "matchExpressions": st.lists(st.one_of(listed, bare), max_size=2),
        },
    )


POD_SELECTORS = selectors(KEYS, VALUES)
NAMESPACE_SELECTORS = selectors(st.sampled_from(["team", "env"]), st.sampled_from(["a", "b", "prod"]))
BLOCKS = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "10.101.0.0/29"},
        {"cidr": "10.101.0.0/29", "except": ["10.101.0.2/32", "10.101.0.4/31"]},
        {"cidr": "0.0.0.0/0", "except": ["10.101.0.0/30", "10.101.0.0/31"]},
        {"cidr": "10.101.0.3/32"},
        {"cidr": "10.101.0.0/30", "except": ["10.101.0.0/30"]},
    ]
)
PEERS = st.one_of(
    st.fixed_dictionaries({"podSelector": POD_SELECTORS}),
    st.fixed_dictionaries({"namespaceSelector": NAMESPACE_SELECTORS}),
    st.fixed_dictionaries({"podSelector": POD_SELECTORS, "namespaceSelector": NAMESPACE_SELECTORS}),
    st.fixed_dictionaries({"ipBlock": BLOCKS}),
)
PROTOCOLS = st.sampled_from(["TCP", "UDP"])
PORTS = st.one_of(
    st.fixed_dictionaries({"port": st.sampled_from([80, 53, 8080])}, optional={"protocol": PROTOCOLS}),
    st.fixed_dictionaries({"port": st.just(80), "endPort": st.sampled_from([80, 81, 9000])}),
    st.fixed_dictionaries({"port": st.sampled_from(["web", "dns"])}, optional={"protocol": PROTOCOLS}),
    st.fixed_dictionaries({"protocol": PROTOCOLS}),
)
CONTAINER_PORTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["web", "dns"]),
            "protocol": PROTOCOLS,
            "containerPort": st.sampled_from([80, 53, 8080]),
        }
    ),
    max_size=2,
)


def rules(peers: str) -> st.SearchStrategy[list[Object]]:
    rule = st.fixed_dictionaries(
        {}, optional={peers: st.lists(PEERS, max_size=2), "ports": st.lists(PORTS, max_size=2)}
    )
    return st.lists(rule, max_size=2)


SPECS = st.fixed_dictionaries(
    {"podSelector": POD_SELECTORS},
    optional={
        "ingress": rules("from"),
        "egress": rules("to"),
        "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    },
)
HOMES = st.sampled_from(["shop", "other", "bare"])
POLICIES = st.lists(st.builds(policy, SPECS, HOMES), max_size=4)


@st.composite
def clusters(draw: st.DrawFn) -> list[Object]:
    return [
        pod_object(f"pod-{at}", f"10.101.0.{at}", draw(HOMES), draw(LABELS), draw(CONTAINER_PORTS))
        for at in range(1, 6)
    ]
