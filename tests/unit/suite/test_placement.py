"""What a cluster asks of pods reaches every pod that a run creates, and nothing else of them changes."""

from __future__ import annotations

from typing import Any

import pytest

from lateral import application, attacker, topology
from lateral.canary import documents as canaries
from lateral.errors import ConfigurationError
from lateral.placement import ANYWHERE, Placement, placement, pod_spec, rewritten
from lateral.resources import Run

Object = dict[str, Any]

SHOP = topology.load("sock-shop")
OPTIONS: dict[str, list[str]] = {"tolerations": [], "selectors": [], "secrets": []}


def read(registry: str = "", **given: list[str]) -> Placement:
    return placement(**{**OPTIONS, **given}, registry=registry, prefix="--x-")


CHOSEN = read(
    "mirror.example:5000/hub",
    tolerations=["dedicated=security:NoSchedule", "spot"],
    selectors=["pool=tests", "kubernetes.io/arch=arm64"],
    secrets=["shared/pull"],
)


def created(chosen: Placement) -> list[Object]:
    run = Run("cafe0001", "2026-01-01T00:00:00Z", chosen)
    found = [*application.documents(SHOP, run), *attacker.documents(SHOP, run), *canaries.ground("canary", run)]
    return [*found, *canaries.pods("canary", [canaries.post("node-a", 0)], run)]


def test_every_pod_is_placed_as_asked() -> None:
    """Tolerations, selector, pull secrets and registry, in the shop's pods, rogues, twins, listeners and canaries."""
    for document in created(CHOSEN):
        if (spec := pod_spec(document)) is None:
            continue
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        assert all(one["image"].startswith("mirror.example:5000/hub/") for one in spec["containers"])
        if "affinity" not in spec:
            assert spec["tolerations"] == [
                {"key": "dedicated", "operator": "Equal", "value": "security", "effect": "NoSchedule"},
                {"key": "spot", "operator": "Exists"},
            ]
            assert {"pool": "tests", "kubernetes.io/arch": "arm64"}.items() <= spec["nodeSelector"].items()
            assert spec["nodeSelector"]["kubernetes.io/os"] == "linux"


def test_canaries_stand_on_nodes_that_the_selector_leaves_out() -> None:
    """A node that has only targets, such as the cluster's DNS, has an agent to watch too."""
    pods = [one["spec"] for one in created(CHOSEN) if "affinity" in one.get("spec", {})]
    assert len(pods) == 2
    for spec in pods:
        assert spec["tolerations"] == [{"operator": "Exists"}]
        assert "nodeSelector" not in spec


def test_labels_of_pods_stay_what_policies_select_by() -> None:
    def labels(documents: list[Object]) -> list[Object]:
        return [one["spec"].get("template", one)["metadata"]["labels"] for one in documents if pod_spec(one)]

    assert labels(created(CHOSEN)) == labels(created(ANYWHERE))


def test_what_makes_pods_by_way_of_a_job_is_placed_too() -> None:
    """A user's own manifests may hold any kind."""
    pod: Object = {"spec": {"containers": [{"image": "a"}], "initContainers": [{"image": "b"}]}}
    job: Object = {"kind": "CronJob", "metadata": {}, "spec": {"jobTemplate": {"spec": {"template": pod}}}}
    CHOSEN.place(job)
    assert [pod["spec"][kind][0]["image"] for kind in ("containers", "initContainers")] == [
        "mirror.example:5000/hub/library/a",
        "mirror.example:5000/hub/library/b",
    ]


def test_what_is_about_no_pods_is_left_as_it_is() -> None:
    for document in ({"kind": "Service", "spec": {"selector": {}}}, {"kind": "ConfigMap"}, {"kind": "Job", "spec": {}}):
        before = dict(document)
        CHOSEN.place(document)
        assert document == before


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("docker.io/weaveworksdemos/user:0.4.7", "r.example/p/weaveworksdemos/user:0.4.7"),
        ("weaveworksdemos/user:0.4.7", "r.example/p/weaveworksdemos/user:0.4.7"),
        ("mongo:4.4", "r.example/p/library/mongo:4.4"),
        ("docker.io/mongo:4.4", "r.example/p/library/mongo:4.4"),
        ("quay.io/prometheus/node-exporter@sha256:0a", "r.example/p/prometheus/node-exporter@sha256:0a"),
        ("localhost:5000/mine", "r.example/p/mine"),
        ("r.example/p/mine:1", "r.example/p/mine:1"),
    ],
)
def test_an_image_keeps_its_full_name_in_another_registry(image: str, expected: str) -> None:
    assert rewritten(image, "r.example/p") == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tolerations": ["a:Never"]}, "--x-toleration: 'a:Never': the effect 'Never' is none of NoSchedule, Prefer"),
        ({"tolerations": ["=b"]}, "--x-toleration: '=b': '' is no label's name"),
        ({"selectors": ["pool"]}, "--x-node-selector: 'pool': expected KEY=VALUE"),
        ({"selectors": ["pool=a b"]}, "--x-node-selector: 'pool=a b'.pool: expected a label's value"),
        ({"selectors": ["a=1", "a=2"]}, "--x-node-selector: 'a=2': a was given as '1' before"),
        ({"secrets": ["Pull_Me"]}, "--x-image-pull-secret: 'Pull_Me': expected a Secret's NAME or NAMESPACE/NAME"),
        ({"secrets": ["/pull"]}, "--x-image-pull-secret: '/pull': expected a Secret's NAME or NAMESPACE/NAME"),
        ({"secrets": ["a/pull", "b/pull"]}, "--x-image-pull-secret: 'b/pull': another Secret pull was given before"),
        ({"registry": "https://r.example"}, "--x-registry: 'https://r.example': expected HOST[:PORT][/PREFIX]"),
        ({"registry": "prefix/only"}, "--x-registry: 'prefix/only': expected HOST"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**given)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
