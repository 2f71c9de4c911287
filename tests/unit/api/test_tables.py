"""Tables: what `kubectl get` shows."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

from lateral.lab.api import podcells
from lateral.lab.api.ages import abbreviated
from lateral.lab.api.columns import COLUMNS
from lateral.lab.kinds import KINDS
from lateral.lab.store import timestamp

from .documents import deployment, pod, policy, service

if TYPE_CHECKING:
    from lateral.lab.store import Object

    from .served import Served

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
PODS = "/api/v1/namespaces/shop/pods"
ENDED = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": "2020-01-01T00:00:00Z"}}
FAILED = {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2020-01-01T00:00:00Z"}}
RUNNING: Object = {"running": {"startedAt": "2020-01-01T00:00:00Z"}}


def waits(reason: str) -> Object:
    return {"waiting": {"reason": reason}}


def container(state: Object, *, ready: bool = False, restarts: int = 0, last: Object | None = None) -> Object:
    return {"name": "main", "ready": ready, "restartCount": restarts, "state": state, "lastState": last or {}}


def with_status(phase: str, *containers: Object, first: tuple[Object, ...] = (), **more: Any) -> Object:
    conditions = [{"type": "Initialized", "status": "False" if first else "True"}]
    status = {"phase": phase, "conditions": conditions, "containerStatuses": list(containers), **more}
    if first:
        status["initContainerStatuses"] = list(first)
    spec = {"containers": [{"name": f"c{n}"} for n in range(len(containers))]}
    return {"metadata": {"name": "web"}, "spec": spec, "status": status}


STATES = [
    ("Pending", "0/0", with_status("Pending")),
    ("ContainerCreating", "0/1", with_status("Pending", container(waits("ContainerCreating")))),
    ("Running", "1/1", with_status("Running", container(RUNNING, ready=True))),
    ("Running", "0/1", with_status("Running", container(RUNNING))),
    ("CrashLoopBackOff", "0/1", with_status("Running", container(waits("CrashLoopBackOff"), restarts=2, last=FAILED))),
    (
        "ImagePullBackOff",
        "1/2",
        with_status("Pending", container(RUNNING, ready=True), container(waits("ImagePullBackOff"))),
    ),
    ("Completed", "0/1", with_status("Succeeded", container(ENDED))),
    ("NotReady", "1/2", with_status("Running", container(ENDED), container(RUNNING, ready=True))),
    ("Error", "0/1", with_status("Failed", container(FAILED))),
    ("DeadlineExceeded", "0/0", with_status("Failed", reason="DeadlineExceeded")),
    ("Init:0/1", "0/1", with_status("Pending", container(waits("PodInitializing")), first=(container(RUNNING),))),
    (
        "Init:1/2",
        "0/1",
        with_status(
            "Pending",
            container(waits("PodInitializing")),
            first=(container(ENDED), container(waits("PodInitializing"))),
        ),
    ),
    ("Init:Error", "0/1", with_status("Pending", container(waits("PodInitializing")), first=(container(FAILED),))),
    (
        "Init:CrashLoopBackOff",
        "0/1",
        with_status("Pending", container(waits("PodInitializing")), first=(container(waits("CrashLoopBackOff")),)),
    ),
]


@pytest.mark.parametrize(("word", "ready", "shown"), STATES, ids=[f"{state[0]}-{state[1]}" for state in STATES])
def test_a_pods_state_is_one_word(word: str, ready: str, shown: Object) -> None:
    assert (podcells.state(shown), podcells.ready(shown)) == (word, ready)


def test_a_pod_on_its_way_out_is_terminating_until_it_has_ended() -> None:
    going = with_status("Running", container(RUNNING, ready=True))
    going["metadata"]["deletionTimestamp"] = timestamp()
    assert podcells.state(going) == "Terminating"
    going["status"]["phase"] = "Succeeded"
    assert podcells.state(going) != "Terminating"


def test_restarts_say_when_the_last_one_was() -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)
    ended = {"terminated": {"exitCode": 1, "finishedAt": before.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    again = with_status("Running", container(RUNNING, restarts=2, last=ended), container(RUNNING, restarts=1))
    number, _, rest = podcells.restarts(again).partition(" ")
    assert number == "3"
    assert rest in ("(90s ago)", "(91s ago)", "(92s ago)")
    assert podcells.restarts(with_status("Running", container(RUNNING))) == "0"


def test_readiness_gates_are_counted() -> None:
    gated = with_status("Running")
    gated["spec"]["readinessGates"] = [{"conditionType": "a/b"}, {"conditionType": "a/c"}]
    gated["status"]["conditions"] += [{"type": "a/b", "status": "True"}]
    assert podcells.gates(gated) == "1/2"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_000, "3h3m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (730 * 86400, "2y"),
        (735 * 86400, "2y5d"),
        (-1, "0s"),
        (-5, "<invalid>"),
    ],
)
def test_ages_are_abbreviated(seconds: int, text: str) -> None:
    assert abbreviated(seconds) == text


def test_every_kind_has_the_columns_of_the_real_server() -> None:
    narrow = {kind: [column.name.upper() for column in columns if not column.wide] for kind, columns in COLUMNS.items()}
    wide = {kind: [column.name.upper() for column in columns if column.wide] for kind, columns in COLUMNS.items()}
    assert set(COLUMNS) == {kind.name for kind in KINDS}
    assert narrow["Pod"] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert wide["Pod"] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert narrow["Deployment"] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert narrow["ReplicaSet"] == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert wide["Deployment"] == wide["ReplicaSet"] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert narrow["Service"] == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert narrow["EndpointSlice"] == ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]
    assert narrow["Node"] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert wide["Node"] == ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"]
    assert narrow["Namespace"] == ["NAME", "STATUS", "AGE"]
    assert narrow["Event"] == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert narrow["ConfigMap"] == ["NAME", "DATA", "AGE"]
    assert narrow["Secret"] == ["NAME", "TYPE", "DATA", "AGE"]
    assert narrow["ServiceAccount"] == ["NAME", "SECRETS", "AGE"]
    assert narrow["Lease"] == ["NAME", "HOLDER", "AGE"]
    assert narrow["NetworkPolicy"] == ["NAME", "POD-SELECTOR", "AGE"]


def cells(served: Served, path: str) -> list[list[Any]]:
    """Of every row, without the age."""
    table = served.ask("GET", path, accept=TABLE).json
    ages = [index for index, column in enumerate(table["columnDefinitions"]) if column["name"] == "Age"]
    return [[cell for index, cell in enumerate(row["cells"]) if index not in ages] for row in table["rows"]]


def test_cells_are_what_the_real_server_shows(served: Served) -> None:
    shop = "/api/v1/namespaces/shop"
    ports = [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 53, "protocol": "UDP"}]
    address = served.ask("POST", f"{shop}/services", service(type="NodePort", ports=ports)).json["spec"]["clusterIP"]
    served.ask("POST", f"{shop}/services", service("alone", clusterIP="None", selector={}))
    served.ask("POST", f"{shop}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "b", "c": "d"}})
    served.ask("POST", f"{shop}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    served.ask("POST", "/apis/apps/v1/namespaces/shop/deployments", deployment(replicas=3))
    policies = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
    selector = {"matchLabels": {"name": "user"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}
    served.ask("POST", policies, policy("some", podSelector=selector))
    served.ask("POST", policies, policy("all"))
    assert cells(served, f"{shop}/services") == [
        ["alone", "ClusterIP", "None", "<none>", "80/TCP", "<none>"],
        ["web", "NodePort", address, "<none>", "80:30001/TCP,53:" + node_port(served) + "/UDP", "app=web"],
    ]
    assert cells(served, f"{shop}/configmaps") == [["c", 2]]
    assert cells(served, f"{shop}/secrets") == [["s", "Opaque", 1]]
    assert cells(served, "/apis/apps/v1/namespaces/shop/deployments") == [
        ["web", "0/3", 0, 0, "main", "web:1", "app=web"]
    ]
    assert cells(served, policies) == [["all", "<none>"], ["some", "app,name=user"]]
    assert cells(served, "/api/v1/namespaces/shop") == [["shop", "<none>"]]


def node_port(served: Served) -> str:
    ports = served.ask("GET", "/api/v1/namespaces/shop/services/web").json["spec"]["ports"]
    return str(ports[1]["nodePort"])


def test_a_node_shows_roles_addresses_and_whether_it_takes_pods(served: Served) -> None:
    node = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.100.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    served.within(lambda: served.store.create({"apiVersion": "v1", "kind": "Node", **node}))
    assert cells(served, "/api/v1/nodes") == [
        [
            "n",
            "Ready,SchedulingDisabled",
            "control-plane",
            "",
            "10.100.0.1",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>",
        ]
    ]


def test_endpoints_beyond_three_are_counted(served: Served) -> None:
    endpoints = [{"addresses": [f"10.101.0.{n}"]} for n in range(1, 6)]
    body = {"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}]}
    path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
    served.ask("POST", path, body)
    served.ask("POST", path, {"metadata": {"name": "none"}, "addressType": "IPv4"})
    assert cells(served, path) == [
        ["e", "IPv4", "80", "10.101.0.1,10.101.0.2,10.101.0.3 + 2 more..."],
        ["none", "IPv4", "<unset>", "<unset>"],
    ]


def test_a_row_brings_the_metadata_of_its_object_unless_asked_otherwise(served: Served) -> None:
    made = served.ask("POST", PODS, pod()).json
    (row,) = served.ask("GET", PODS, accept=TABLE).json["rows"]
    assert row["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": made["metadata"],
    }
    (row,) = served.ask("GET", f"{PODS}?includeObject=Object", accept=TABLE).json["rows"]
    assert row["object"] == made
    (row,) = served.ask("GET", f"{PODS}/web?includeObject=None", accept=TABLE).json["rows"]
    assert "object" not in row
    assert "includeObject" in served.ask("GET", f"{PODS}?includeObject=All", accept=TABLE).message


def test_a_table_of_a_list_goes_on_where_the_page_ended(served: Served) -> None:
    for name in ("a", "b", "c"):
        served.ask("POST", PODS, pod(name))
    page = served.ask("GET", f"{PODS}?limit=2", accept=TABLE).json
    assert [row["cells"][0] for row in page["rows"]] == ["a", "b"]
    rest = served.ask("GET", f"{PODS}?limit=2&continue={page['metadata']['continue']}", accept=TABLE).json
    assert [row["cells"][0] for row in rest["rows"]] == ["c"]


def test_a_watch_sends_tables(served: Served) -> None:
    version = served.ask("GET", PODS, accept=TABLE).json["metadata"]["resourceVersion"]
    served.ask("POST", PODS, pod())
    served.ask("DELETE", f"{PODS}/web?gracePeriodSeconds=0")
    lines = served.ask("GET", f"{PODS}?watch=1&timeoutSeconds=1&resourceVersion={version}", accept=TABLE).text
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert {event["object"]["kind"] for event in events} == {"Table"}
    assert [event["object"]["rows"][0]["cells"][0] for event in events] == ["web", "web"]
    failed = served.ask("GET", f"{PODS}?watch=1&resourceVersion=999999", accept=TABLE).text
    assert json.loads(failed)["object"]["kind"] == "Status"


def test_metadata_alone_can_be_asked_for(served: Served) -> None:
    served.ask("POST", PODS, pod())
    one = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert set(served.ask("GET", f"{PODS}/web", accept=one).json) == {"kind", "apiVersion", "metadata"}
    many = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found = served.ask("GET", PODS, accept=many).json
    assert (found["kind"], [set(item) for item in found["items"]]) == (
        "PartialObjectMetadataList",
        [{"kind", "apiVersion", "metadata"}],
    )


def test_the_first_form_that_is_known_is_taken(served: Served) -> None:
    served.ask("POST", PODS, pod())
    for accept, kind in (
        ("application/vnd.kubernetes.protobuf,application/json", "Pod"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,*/*", "Pod"),
        ("application/json;q=0.5", "Pod"),
        (TABLE, "Table"),
    ):
        assert served.ask("GET", f"{PODS}/web", accept=accept).json["kind"] == kind
    refused = served.ask("GET", f"{PODS}/web", accept="application/vnd.kubernetes.protobuf")
    assert refused.code == 406
    assert "application/json" in refused.message
