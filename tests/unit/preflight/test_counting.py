"""Who would count a twin or an attacker's pod among an application's, or lead to it: told before there is one."""

from __future__ import annotations

from typing import Any

import pytest

from .paper import Paper, checked, daemonset, named
from .test_checks import odd, there

SHOP = "sock-shop"
PAYMENT, ROGUE = {"name": "payment"}, {"app": "rogue"}
SCALERS, BUDGETS = ("autoscaling", "HorizontalPodAutoscaler"), ("policy", "PodDisruptionBudget")
TWIN, ATTACKER = "the twin of payment.sock-shop", "the attacker rogue.sock-shop"


def told(*objects: tuple[tuple[str, str], dict[str, Any]], existing: bool = True) -> list[tuple[str, str]]:
    """What preflight says of the shop with these beside it, but for nodes and the like."""
    held: dict[tuple[str, str], list[dict[str, Any]]] = {("", "Namespace"): there() if existing else []}
    for key, one in objects:
        held.setdefault(key, []).append(one)
    if ("apps", "DaemonSet") in held:
        held["apps", "DaemonSet"].append(daemonset("calico-node", "registry.example/calico/node:v3.29.1"))
    return odd(checked(Paper(objects=held), existing=existing))


def service(labels: dict[str, str] | None, annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    made = named("door", SHOP, spec={**({"selector": labels} if labels else {}), **spec})
    made["metadata"]["annotations"] = annotations or {}
    return ("", "Service"), made


def deployment(name: str = "payment", selector: Any = None, kind: str = "Deployment", **metadata: Any) -> Any:
    made = named(name, SHOP, spec={"selector": selector or {"matchLabels": PAYMENT}})
    made["metadata"].update(metadata)
    return ("apps", kind), made


def autoscaler(kind: str = "Deployment", name: str = "payment") -> Any:
    return SCALERS, named("more", SHOP, spec={"scaleTargetRef": {"kind": kind, "name": name}})


def budget(labels: dict[str, str] | None = None, **spec: Any) -> Any:
    return BUDGETS, named("few", SHOP, spec={"selector": {"matchLabels": labels or PAYMENT}, **spec})


def pod(labels: dict[str, str], owner: Any = None, **metadata: Any) -> Any:
    made = named("some", SHOP, spec={"containers": []}, status={"phase": "Running"})
    made["metadata"].update(labels=labels, ownerReferences=[owner] if owner else [], **metadata)
    return ("", "Pod"), made


def owner(kind: str, api_version: str = "apps/v1") -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "name": "mine", "controller": True}


def test_services_that_lead_to_ready_pods_lead_to_none_of_the_runs() -> None:
    """One without a selector leads to what somebody else has written down."""
    assert not told(
        service(PAYMENT), service(ROGUE), service(None, publishNotReadyAddresses=True), service({"name": "other"})
    )


@pytest.mark.parametrize(("labels", "who"), [(PAYMENT, TWIN), (ROGUE, ATTACKER)])
def test_a_service_that_would_lead_to_the_runs_pods(labels: dict[str, str], who: str) -> None:
    """Its users would be sent there."""
    said = f"publishes addresses that aren't ready: it would lead to {who}"
    assert told(service(labels, publishNotReadyAddresses=True)) == [
        ("refusal", f"labels: Service door of sock-shop {said}")
    ]


def test_a_load_balancer_that_takes_whatever_isnt_ready() -> None:
    for labels, who in ((PAYMENT, TWIN), (ROGUE, ATTACKER)):
        [(level, said)] = told(service(labels, {"cloud.google.com/neg-status": "{}"}))
        assert (level, who in said, "fail their health checks" in said) == ("warning", True, True)


def test_an_autoscaler_that_would_count_a_twin() -> None:
    """It averages over all pods that its target's selector matches, whoever owns them."""
    said = f"labels: HorizontalPodAutoscaler more of sock-shop would count {TWIN} as a pod of Deployment payment"
    assert told(autoscaler(), deployment()) == [("refusal", f"{said}, and scale that")]
    [(level, said)] = told(autoscaler("StatefulSet"), deployment(kind="StatefulSet"))
    assert (level, "a pod of StatefulSet payment" in said) == ("refusal", True)


def test_autoscalers_of_others_count_no_twin() -> None:
    """Of what isn't there, of another, of what no workload in the topology is made by, and of a former version."""
    assert not told(autoscaler(name="gone"), deployment())
    assert not told(autoscaler(name="batch"), deployment(), deployment("batch", {"matchLabels": {"name": "batch"}}))
    narrow = {"matchLabels": PAYMENT, "matchExpressions": [{"key": "pod-template-hash", "operator": "DoesNotExist"}]}
    assert not told(autoscaler(), deployment(selector=narrow))


def test_an_autoscaler_of_what_cant_be_looked_at() -> None:
    [(level, said)] = told(autoscaler("Rollout"))
    assert (level, "scales Rollout payment, and which pods it counts can't be told" in said) == ("warning", True)
    held = {("", "Namespace"): there(), SCALERS: [autoscaler()[1]], ("apps", "Deployment"): [deployment()[1]]}
    found = odd(checked(Paper(objects=held, forbidden={"deployments"}), existing=True))
    assert {level for level, _ in found} == {"warning"}
    assert any("which pods it counts can't be told" in said for _, said in found)


@pytest.mark.parametrize(
    ("spec", "level"),
    [
        ({"maxUnavailable": 1}, "warning"),
        ({"maxUnavailable": "25%"}, "warning"),
        ({"minAvailable": "50%"}, "warning"),
        ({"minAvailable": 1}, ""),
        ({"minAvailable": 1, "selector": {}}, ""),
        ({"maxUnavailable": 1, "selector": None}, ""),
        ({"maxUnavailable": 1, "selector": {"matchLabels": {"name": "other"}}}, ""),
        ({"maxUnavailable": 1, "selector": {"matchLabels": ROGUE}}, ""),
    ],
)
def test_budgets(spec: dict[str, Any], level: str) -> None:
    """A twin is one more that is wanted and never healthy; an attacker's pod is neither."""
    assert {one for one, _ in told(budget(**spec))} == ({level} if level else set())


def test_an_operator_that_may_go_by_labels() -> None:
    """Of the pods themselves, or of what keeps them; the controllers of Kubernetes go by owners."""
    kept = owner("ReplicaSet")
    assert not told(pod(PAYMENT, kept), deployment())
    assert not told(pod({"name": "other"}, owner("Kafka", "kafka.strimzi.io/v1beta2")))
    said = "keeps pods that the twin of payment.sock-shop looks like, and its operator may take it for one of them"
    for found in (
        told(pod(PAYMENT, owner("Kafka", "kafka.strimzi.io/v1beta2"))),
        told(pod({**PAYMENT, "tier": "b"}, kept), deployment(ownerReferences=[owner("Kafka", "strimzi.io/v1")])),
    ):
        assert found == [("warning", f"labels: Kafka mine {said}")]


def test_another_runs_twin_tells_nothing_of_an_operator() -> None:
    theirs = pod(PAYMENT, owner("Kafka", "strimzi.io/v1"), annotations={"lateral.dev/run": "1"})
    assert not told(theirs)


def test_a_daemonset_that_would_adopt_an_attackers_pod() -> None:
    """A twin has an owner, and is adopted by nobody."""
    for labels, expected in ((ROGUE, "refusal"), (PAYMENT, "")):
        agent = named(
            "agent", SHOP, spec={"selector": {"matchLabels": labels}, "template": {"spec": {"containers": []}}}
        )
        found = told((("apps", "DaemonSet"), agent))
        assert [level for level, _ in found] == ([expected] if expected else [])


def test_an_application_of_the_runs_own_concerns_nobody() -> None:
    assert not told(autoscaler(), deployment(), budget(maxUnavailable=1), existing=False)
