"""A stock kubectl against the lab: everyday commands say what they say on any cluster."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kubectl import Kubectl, kubectl_and_lab

from lateral.waiting import until

if TYPE_CHECKING:
    from tests.terminal import Terminal

SECONDS = 30.0
NAMESPACE = "trial"
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.answer(b"x" * 3_000_000)
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
print("serving", flush=True)
http.server.ThreadingHTTPServer.request_queue_size = 64
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""

INTERRUPTIBLE = (
    """perl -e '$| = 1; $SIG{INT} = sub { print "inter", "rupted\\n"; exit };"""
    """ print "wait", "ing\\n"; select undef, undef, undef, 0.05 while 1'"""
)


def pod(name: str, *command: str, **spec: object) -> dict[str, object]:
    """A manifest; its container is `main`."""
    container = {"name": "main", "image": "mongo:3.2", "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


class Trial:
    """kubectl in a namespace of its own."""

    def __init__(self, kubectl: Kubectl, folder: Path) -> None:
        self.kubectl = kubectl
        self.folder = folder

    def says(self, *words: str, typed: str = "") -> str:
        return self.kubectl.says("-n", NAMESPACE, *words, typed=typed)

    def fails(self, *words: str, typed: str = "") -> str:
        """What it complains of."""
        ran = self.kubectl.run("-n", NAMESPACE, *words, typed=typed)
        assert ran.returncode != 0, ran.stdout
        return ran.stderr

    def apply(self, *manifests: Mapping[str, object]) -> str:
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self.says("apply", "-f", "-", typed=json.dumps(items))

    def ready(self, name: str) -> None:
        self.says("wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={SECONDS:.0f}s")

    def states(self) -> dict[str, list[str]]:
        """READY, STATUS and RESTARTS by pod."""
        rows = self.kubectl.table("get", "pods", "-n", NAMESPACE, "--ignore-not-found")
        return {row[0]: row[1:4] for row in rows}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A lab with a namespace, and in it `web`, which serves HTTP behind a Service, and `shell`, which waits."""
    folder = tmp_path_factory.mktemp("kubectl")
    with kubectl_and_lab(folder) as (kubectl, _):
        assert kubectl.says("create", "namespace", NAMESPACE) == f"namespace/{NAMESPACE} created\n"
        made = Trial(kubectl, folder)
        made.apply(pod("web", "python3", "-c", SERVER), pod("shell", "sleep", "infinity"))
        service = ("create", "service", "clusterip", "web", "--tcp=80:8080")
        assert made.says(*service) == "service/web created\n"
        made.ready("web")
        made.ready("shell")
        yield made


def test_the_cluster_tells_what_it_is(trial: Trial) -> None:
    assert re.search(r"^Server Version: v1\.\d+\.\d+\+lateral\.lab$", trial.kubectl.says("version"), re.MULTILINE)
    assert "is running at https://127.0.0.1:" in trial.kubectl.says("cluster-info")
    assert trial.kubectl.says("api-versions").splitlines() == [
        "apps/v1",
        "authorization.k8s.io/v1",
        "coordination.k8s.io/v1",
        "discovery.k8s.io/v1",
        "networking.k8s.io/v1",
        "v1",
    ]
    resources = {row[0]: row[-1] for row in trial.kubectl.table("api-resources")}
    assert (resources["networkpolicies"], resources["pods"]) == ("NetworkPolicy", "Pod")


def test_get_shows_the_usual_columns(trial: Trial) -> None:
    heading, *rows = trial.says("get", "pods", "-o", "wide").splitlines()
    columns = ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"]
    assert heading.split() == columns
    assert [row.split()[:4] for row in rows] == [[name, "1/1", "Running", "0"] for name in ("shell", "web")]
    assert trial.says("get", "pods", "-o", "name") == "pod/shell\npod/web\n"
    assert trial.says("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}") == "Running"
    assert "containerStatuses:" in trial.says("get", "pod", "web", "-o", "yaml")
    assert json.loads(trial.says("get", "pod", "web", "-o", "json"))["kind"] == "Pod"
    everywhere = trial.kubectl.table("get", "pods", "-A")
    assert {"kube-system", NAMESPACE} == {row[0] for row in everywhere}
    (service,) = trial.kubectl.table("get", "svc", "-n", NAMESPACE)
    assert [service[0], service[1], *service[3:5]] == ["web", "ClusterIP", "<none>", "80/TCP"]


def test_pods_say_what_is_the_matter(trial: Trial) -> None:
    """And a watch shows how they came there."""
    waits = {"name": "first", "image": "mongo:3.2", "command": ["sleep", "infinity"]}
    unknown = pod("unknown")
    unknown["spec"] = {"containers": [{"name": "main", "image": "no-such-image"}]}
    trial.apply(
        pod("crashing", "false"),
        pod("done", "true", restartPolicy="Never"),
        pod("failed", "false", restartPolicy="Never"),
        pod("starting", "true", initContainers=[waits]),
        unknown,
    )
    wanted = {
        "crashing": ["0/1", "CrashLoopBackOff"],
        "done": ["0/1", "Completed"],
        "failed": ["0/1", "Error"],
        "starting": ["0/1", "Init:0/1"],
        "unknown": ["0/1", "ImagePullBackOff"],
    }

    def there() -> bool:
        found = trial.states()
        return all(found[name][:2] == state for name, state in wanted.items())

    until("the pods' states", there, timeout=SECONDS, state=lambda: str(trial.states()))
    described = trial.says("describe", "pod", "unknown")
    assert "Failed to pull image" in described
    assert "no-such-image" in described
    events = trial.says("events", "--for", "pod/crashing")
    assert "Back-off restarting failed container main in pod crashing" in events
    gone = trial.says("delete", "pod", *wanted, "--now")
    assert gone.splitlines() == [f'pod "{name}" deleted' for name in wanted]
    assert not set(wanted) & set(trial.states())


def test_a_watch_shows_changes_as_rows(trial: Trial) -> None:
    with trial.kubectl.terminal("get", "pods", "-w", "-n", NAMESPACE) as watch:
        watch.until("web ")
        trial.apply(pod("passing", "sleep", "infinity"))
        watch.until("passing")
        watch.until("ContainerCreating")
        watch.until("1/1     Running")
        trial.says("delete", "pod", "passing", "--now")
        watch.until("Terminating")


def test_describe_tells_all_there_is(trial: Trial) -> None:
    described = trial.says("describe", "pod", "web")
    assert re.search(r"Node: +(lab-node/10\.100\.0\.1|lab-node-2/10\.100\.0\.2)\n", described)
    assert re.search(r"Normal +Started .* Started container main", described)
    assert re.search(r"Endpoints: +10\.101\.\d+\.\d+:8080\n", trial.says("describe", "svc", "web"))
    node = trial.kubectl.says("describe", "node")
    assert re.search(r"Roles: +control-plane\n", node)
    assert re.search(r"HolderIdentity: +lab-node\n", node)
    assert re.search(r"Status: +Active\n", trial.kubectl.says("describe", "ns", NAMESPACE))


def test_apply_again_changes_only_what_changed(trial: Trial) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "some"},
        "spec": {"podSelector": {"matchLabels": {"app": "none"}}, "ingress": [{"from": [{"podSelector": {}}]}]},
    }
    name = "networkpolicy.networking.k8s.io/some"
    assert trial.apply(policy) == f"{name} created\n"
    assert trial.apply(policy) == f"{name} unchanged\n"
    file = trial.folder / "policy.json"
    changed = {**policy, "spec": {"podSelector": {"matchLabels": {"app": "other"}}}}
    file.write_text(json.dumps(changed))
    assert trial.says("apply", "-f", str(file), "--dry-run=server") == f"{name} configured (server dry run)\n"
    assert "app: none" in trial.says("get", "netpol", "some", "-o", "yaml")
    assert trial.says("apply", "-f", str(file)) == f"{name} configured\n"
    rows = trial.kubectl.table("get", "netpol", "-n", NAMESPACE)
    assert [row[:2] for row in rows] == [["some", "app=other"]]
    described = trial.says("describe", "netpol", "some")
    assert "PodSelector:     app=other" in described
    assert "no server-side apply" in trial.fails("apply", "-f", str(file), "--server-side")
    wrong = json.dumps({**policy, "spec": {"PodSelector": {}}})
    assert 'unknown field "spec.PodSelector"' in trial.fails("apply", "-f", "-", typed=wrong)
    assert trial.says("delete", "-f", str(file)) == 'networkpolicy.networking.k8s.io "some" deleted\n'


def test_a_deployment_is_made_scaled_changed_and_undone(trial: Trial) -> None:
    def settled() -> None:
        assert "successfully rolled out" in trial.says("rollout", "status", "deploy/cache", "--timeout=30s")

    assert trial.says("create", "deployment", "cache", "--image=redis:7-alpine", "--port=6379").endswith("created\n")
    settled()
    assert trial.says("scale", "deploy/cache", "--replicas=2") == "deployment.apps/cache scaled\n"
    settled()
    assert trial.says("set", "image", "deploy/cache", "redis=redis:7").endswith("image updated\n")
    settled()
    (row,) = trial.kubectl.table("get", "deploy", "-o", "wide", "-n", NAMESPACE)
    assert [*row[:4], *row[5:]] == ["cache", "2/2", "2", "2", "redis", "redis:7", "app=cache"]
    assert trial.says("rollout", "undo", "deploy/cache").endswith("rolled back\n")
    assert trial.says("rollout", "restart", "deploy/cache").endswith("restarted\n")
    settled()
    history = trial.says("rollout", "history", "deploy/cache").splitlines()
    assert [line.split()[0] for line in history[2:] if line] == ["2", "3", "4"]
    assert re.search(r"Image: +redis:7-alpine\n", trial.says("describe", "deploy", "cache"))
    assert trial.says("expose", "deploy/cache", "--port=6379") == "service/cache exposed\n"
    trial.says("label", "deploy/cache", "tier=data")
    trial.says("annotate", "deploy/cache", "note=here")
    assert trial.says("get", "deploy", "-l", "tier=data", "-o", "name") == "deployment.apps/cache\n"
    assert trial.kubectl.run("logs", "-n", NAMESPACE, "deploy/cache", "--tail=1").stdout
    trial.says("delete", "deploy/cache", "svc/cache", "--cascade=foreground")
    until("no pod of it", lambda: not any(name.startswith("cache-") for name in trial.states()), timeout=SECONDS)


def test_generators_make_what_they_are_asked_for(trial: Trial) -> None:
    assert trial.says("create", "configmap", "settings", "--from-literal=a=b") == "configmap/settings created\n"
    assert trial.says("create", "secret", "generic", "keys", "--from-literal=a=b") == "secret/keys created\n"
    assert trial.says("create", "serviceaccount", "robot") == "serviceaccount/robot created\n"
    shown = trial.says("get", "cm/settings", "secret/keys", "sa/robot", "-o", "jsonpath={.items[*].data.a}")
    assert shown == "b Yg=="


def test_access_is_told(trial: Trial) -> None:
    assert trial.says("auth", "can-i", "create", "pods") == "yes\n"
    ran = trial.kubectl.run("auth", "can-i", "create", "jobs.batch", "-n", NAMESPACE)
    assert (ran.returncode, ran.stdout.partition(" ")[0].strip()) == (1, "no")
    assert "networkpolicies.networking.k8s.io" in trial.says("auth", "can-i", "--list")


def test_fields_are_explained(trial: Trial) -> None:
    explained = trial.kubectl.says("explain", "networkpolicy.spec.ingress.from")
    assert re.search(r"podSelector\t<LabelSelector>", explained)
    assert re.search(r"name\t<string> -required-", trial.kubectl.says("explain", "pod.spec.containers"))


def test_logs_are_read_and_followed(trial: Trial) -> None:
    side = {"name": "side", "image": "mongo:3.2", "command": ["echo", "aside"]}
    talking = pod("talking", "sh", "-c", "echo one; echo two; sleep 1; echo three", restartPolicy="Never")
    assert isinstance(talking["spec"], dict)
    talking["spec"]["containers"].append(side)
    trial.apply(talking)
    until(
        "the first lines", lambda: trial.states()["talking"][1] not in ("Pending", "ContainerCreating"), timeout=SECONDS
    )
    assert trial.says("logs", "-f", "talking", "-c", "main") == "one\ntwo\nthree\n"
    assert trial.says("logs", "talking", "-c", "main", "--tail=1") == "three\n"
    everything = trial.says("logs", "talking", "--all-containers", "--prefix")
    assert {"[pod/talking/main] three", "[pod/talking/side] aside"} < set(everything.splitlines())
    assert "until it starts again" in trial.fails("logs", "talking", "-c", "main", "--previous")
    trial.says("delete", "pod", "talking", "--now")


def test_exec_keeps_streams_and_status_apart(trial: Trial) -> None:
    ran = trial.kubectl.run("exec", "-n", NAMESPACE, "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (ran.stdout, ran.returncode) == ("out\n", 4)
    assert ran.stderr == "err\ncommand terminated with exit code 4\n"
    assert trial.says("exec", "-i", "shell", "--", "cat", typed="given\n") == "given\n"


def ensure_resized(shell: Terminal) -> None:
    """A terminal's size is its program's. It has the first before another is tried: until then kubectl forgets them."""
    for columns, rows in ((80, 24), (132, 43)):
        shell.resize(columns, rows)
        shell.type(f"while [ \"$(stty size)\" != '{rows} {columns}' ]; do sleep 0.05; done; echo si''zed\r")
        shell.until("sized\n")


def test_exec_with_a_terminal_is_a_terminal(trial: Trial) -> None:
    with trial.kubectl.terminal("exec", "-it", "-n", NAMESPACE, "shell", "--", "bash") as shell:
        shell.resize(80, 24)
        shell.until("root@shell:/# ")
        ensure_resized(shell)
        shell.type("echo $TERM\r")
        shell.until("xterm\n")
        shell.type(f"{INTERRUPTIBLE}\r")
        shell.until("waiting\n")
        shell.type("\x03")
        shell.until("interrupted\n")
        shell.until("root@shell:/# ")
        shell.type("exit 3\r")
        assert shell.wait() == 3


def test_a_pod_for_one_session(trial: Trial) -> None:
    """Started, joined, and gone with its shell; its status is kubectl's."""
    words = ("run", "one", "--image=mongo:3.2", "--restart=Never", "--rm", "-it", "-n", NAMESPACE, "--", "bash")
    with trial.kubectl.terminal(*words) as shell:
        shell.resize(80, 24)
        shell.until("root@one:/# ")
        ensure_resized(shell)
        shell.type("exit 3\r")
        shell.until('pod "one" deleted')
        assert shell.wait() == 3
    assert "one" not in trial.states()
    words = ("run", "copy", "--image=mongo:3.2", "--restart=Never", "--rm", "-i", "-n", NAMESPACE, "--", "cat")
    ran = trial.kubectl.run(*words, typed="given\n")
    assert (ran.returncode, ran.stdout) == (0, 'given\npod "copy" deleted\n'), ran.stderr


def test_attach_joins_and_leaves(trial: Trial) -> None:
    """Two see the same terminal; who leaves, ends nothing."""
    words = ("run", "joined", "--image=mongo:3.2", "--stdin", "--tty", "--attach=false", "--command", "--", "bash")
    trial.says(*words)
    trial.ready("joined")
    attach = ("attach", "-it", "joined", "-n", NAMESPACE)
    with trial.kubectl.terminal(*attach) as first:
        first.until("root@joined:/# ")
        with trial.kubectl.terminal(*attach) as second:
            second.until("try pressing enter")
            second.type("\r")
            second.until("root@joined:/# ")
            second.type("echo to''gether\r")
            first.until("together\n")
        first.type("echo still\r")
        first.until("still\n")
    assert trial.states()["joined"][1] == "Running"
    trial.says("delete", "pod", "joined", "--now")


def test_files_are_copied_both_ways(trial: Trial) -> None:
    there, back = trial.folder / "there", trial.folder / "back"
    there.write_bytes(os.urandom(3_000_000))
    trial.says("cp", str(there), "shell:/tmp/file")
    ran = trial.kubectl.run("cp", "-n", NAMESPACE, "shell:/tmp/file", str(back))
    assert ran.returncode == 0, ran.stderr
    assert back.read_bytes() == there.read_bytes()


@pytest.mark.parametrize("target", ["pod/web", "service/web"])
def test_a_port_forward_carries_many_transfers_at_once(trial: Trial, target: str) -> None:
    sent = os.urandom(1_000_000)
    port = 80 if target.startswith("service") else 8080
    with trial.kubectl.forward(target, "-n", NAMESPACE, port=port) as address:

        def down(_: int) -> bool:
            with urllib.request.urlopen(address, timeout=SECONDS) as response:  # noqa: S310  (ours)
                return bool(response.read() == b"x" * 3_000_000)

        def up(_: int) -> bool:
            with urllib.request.urlopen(address, sent, timeout=SECONDS) as response:  # noqa: S310  (ours)
                return bool(response.read() == sent)

        with ThreadPoolExecutor(10) as pool:
            results = [pool.submit(work, number) for number in range(10) for work in (down, up)]
            assert all(result.result() for result in results)


def test_a_cordoned_node_takes_no_pods(trial: Trial) -> None:
    nodes = trial.kubectl.says("get", "nodes", "-o", "name").split()
    trial.kubectl.says("cordon", *nodes)
    try:
        assert [row[1] for row in trial.kubectl.table("get", "nodes")] == ["Ready,SchedulingDisabled"] * 2
        trial.apply(pod("waiting", "sleep", "infinity"))
        until("the reason", lambda: "unschedulable" in trial.says("describe", "pod", "waiting"), timeout=SECONDS)
        assert trial.states()["waiting"][1] == "Pending"
    finally:
        trial.kubectl.says("uncordon", *nodes)
    trial.ready("waiting")
    assert (
        'pod "waiting" force deleted'
        in trial.kubectl.run("delete", "pod", "waiting", "--force", "-n", NAMESPACE).stdout
    )


def test_what_the_lab_has_not_it_says(trial: Trial) -> None:
    assert "Metrics API not available" in trial.fails("top", "pods")
    assert "the lab has no jobs.batch" in trial.fails("create", "job", "some", "--image=redis")
    assert "the server doesn't have a resource type" in trial.fails("get", "ingresses")
    assert "the lab has no ephemeralcontainers of pods" in trial.fails(
        "debug", "shell", "--image=redis", "--profile=general"
    )
    copied = trial.fails("debug", "shell", "--image=redis", "--copy-to=copy", "--profile=general")
    assert "the lab doesn't read Pod of v1" in copied
    assert 'pods "absent" not found' in trial.fails("exec", "absent", "--", "true")
    assert "no-such-program" in trial.fails("exec", "shell", "--", "no-such-program")
